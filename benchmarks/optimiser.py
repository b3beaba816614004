"""What an optimiser's step alone takes, fused and not, in turns: `python benchmarks/optimiser.py [settings ...]`.

For the networks of settings files (`distilled` and `paper` unless others are named), gradients at random, one thread.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

from lesionsplit.training.run import read_config

ROUNDS = 30
WAYS = {"as torch chooses": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}


def main() -> None:
    torch.set_num_threads(1)
    for config in sys.argv[1:] or ["distilled", "paper"]:
        network = read_config(config, []).method.build_network().to(memory_format=torch.channels_last)
        parameters = list(network.parameters())
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimisers = {name: torch.optim.AdamW(parameters, lr=1e-4, **way) for name, way in WAYS.items()}
        took: dict[str, list[float]] = {name: [] for name in optimisers}
        for _ in range(ROUNDS):
            for name, optimiser in optimisers.items():
                start = time.perf_counter()
                optimiser.step()
                took[name].append(time.perf_counter() - start)
        count = sum(parameter.numel() for parameter in parameters)
        said = ", ".join(f"{name} {1e3 * statistics.median(each):.1f} ms" for name, each in took.items())
        print(f"{config}, {count:,} parameters: {said}")


if __name__ == "__main__":
    main()
