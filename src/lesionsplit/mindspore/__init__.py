"""The paper's method in MindSpore: each file here mirrors the PyTorch file of the same path in `lesionsplit`.

Data, settings, sampling, checkpoints and cards are those of the package; arrays cross the border in `tensors`.
Everything runs as a compiled graph (`jit`). MindSpore 2.10 runs the same functions without, but the gradient of the
penalty is then wrong for the critic's linear layer. Nothing here is imported unless it is asked for.
"""
