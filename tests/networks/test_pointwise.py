from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lesionsplit.networks.pointwise import SAFE_INPUTS, StridedPointwiseConv

GRADIENT = """
import torch
from lesionsplit.networks.pointwise import StridedPointwiseConv

torch.manual_seed(0)
conv = StridedPointwiseConv({inputs}, 16, 2, bias=False)
features, slope = torch.rand(32, {inputs}, 64, 64), torch.rand(32, 16, 32, 32)
exact = torch.einsum("bohw,bihw->oi", slope.double(), features[:, :, ::2, ::2].double())
conv.to(memory_format=torch.channels_last)
features = features.contiguous(memory_format=torch.channels_last).requires_grad_()
for _ in range(3):
    conv.zero_grad()
    conv(features).backward(slope.contiguous(memory_format=torch.channels_last))
torch.testing.assert_close(conv.weight.grad[:, :, 0, 0].double(), exact, rtol=1e-4, atol=1e-3)
"""

TRAINING = """
import torch
from lightning_fabric import Fabric
from lesionsplit.data.sampling import Batch
from lesionsplit.methods.classifier import CamSettings
from lesionsplit.networks.residual import ResNetSettings

torch.manual_seed(0)
made = CamSettings(network=ResNetSettings(width=4, stem="fine"), learning_rate=3e-3, warmup_steps=5).build()
made.setup(Fabric(accelerator="cpu", devices=1))
normal, lesion = torch.rand(4, 1, 32, 48) * 0.5, torch.rand(4, 1, 32, 48) * 0.5
lesion[:, :, 8:16, 16:28] += 0.5
losses = [made.step(Batch(normal, lesion), number)["classification"].item() for number in range(40)]
assert losses[-1] < 0.1 < losses[0], losses
"""


@pytest.mark.parametrize("inputs", [1, 4, SAFE_INPUTS - 1, SAFE_INPUTS, 24])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_a_strided_convolution(inputs: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    conv = StridedPointwiseConv(inputs, 8, 2).double().to(memory_format=layout)  # type: ignore[call-overload]
    features = torch.rand(2, inputs, 5, 6, dtype=torch.float64).contiguous(memory_format=layout)

    def output_and_gradients(function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        given = features.clone().requires_grad_()
        found = function(given)
        return [found, *torch.autograd.grad(found.square().sum(), [given, conv.weight, conv.bias])]

    ours = output_and_gradients(conv)
    plain = output_and_gradients(lambda given: F.conv2d(given, conv.weight, conv.bias, stride=2))
    assert ours[0].shape == (2, 8, 3, 3)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other)


def test_its_weights_are_those_of_a_plain_convolution() -> None:
    torch.manual_seed(0)
    ours = StridedPointwiseConv(4, 8, 2)
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 8, 1, 2)
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize(("isa", "inputs"), [("AVX2", 4), ("DEFAULT", 4), ("DEFAULT", 8), ("DEFAULT", 15)])
def test_the_gradient_is_exact_in_channels_last(isa: str, inputs: int) -> None:
    run(isa, GRADIENT.format(inputs=inputs))


def test_a_narrow_classifier_trains_without_avx_512() -> None:
    run("AVX2", TRAINING)


def run(isa: str, script: str) -> None:
    """In a process of its own: oneDNN reads the variable once, and writing out of bounds ends the process."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=300)
