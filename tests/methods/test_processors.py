"""Whatever trains and predicts, as on a processor without AVX-512, where oneDNN uses other kernels."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from lesionsplit.comparison.plan import settings_of
from lesionsplit.comparison.settings import read_comparison
from lesionsplit.networks.pointwise import SAFE_INPUTS, StridedPointwiseConv
from lesionsplit.training.lungs.network import LungCard, LungNet
from lesionsplit.training.run import read_config

ROOT = Path(__file__).parents[2]

AGAIN = (
    "tests/methods/test_contract.py::test_scores_are_raw_and_on_one_scale",
    "tests/methods/test_classifier.py::test_the_step_is_that_of_a_plain_implementation",
    "tests/training/lungs/test_train.py::test_the_same_seed_gives_the_same_weights",
)
"""Every method trained and used for prediction; the lung network trained."""

CONFIGS = sorted(path.stem for path in (ROOT / "src/lesionsplit/configs").glob("*.toml"))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN's kernels differ on x86 only")
def test_all_that_trains_without_avx_512() -> None:
    """In a process of its own: oneDNN reads the variable once, and a write out of bounds ends the process."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", *AGAIN],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def networks() -> dict[str, nn.Module]:
    """Every network and critic that a shipped configuration has, and the lung network."""
    methods = {name: read_config(name).method for name in CONFIGS}
    for comparison in map(read_comparison, ("figures", "phantom", "teachers")):
        methods |= {
            f"{comparison.title}: {entry.name}": settings_of(comparison, entry, 0).method
            for entry in comparison.entry
            if entry.trained
        }
    found: dict[str, nn.Module] = {"lungs": LungNet(LungCard().channels)}
    for name, method in methods.items():
        built = method.build()
        found |= {f"{name}: {place}": part for place, part in built.state().items() if isinstance(part, nn.Module)}
    return found


def test_no_network_has_a_convolution_that_onednn_gets_wrong() -> None:
    """A strided 1 x 1 convolution of few inputs; `StridedPointwiseConv` is the one place that makes it safe."""
    seen = 0
    for name, network in networks().items():
        for place, module in network.named_modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and max(module.stride) > 1:
                seen += 1
                safe = isinstance(module, StridedPointwiseConv) or module.in_channels >= SAFE_INPUTS
                assert safe, f"{name}: {place} is {module}: use StridedPointwiseConv"
    assert seen, "a test of nothing"
