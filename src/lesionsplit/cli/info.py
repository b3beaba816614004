"""`lesionsplit info`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

LIBRARIES = ("torch", "numpy", "scipy", "nibabel", "SimpleITK", "pydicom", "highdicom", "onnxruntime", "lungmask")


@click.command()
def info() -> None:
    """Show versions, devices, engines, the weights with their licence, and the cache with its size."""
    for heading, lines in (
        ("Versions", _versions()),
        ("Devices", _devices()),
        ("Engines", _engines()),
        ("Weights", _weights()),
        ("Cache", _cache()),
    ):
        click.echo(heading)
        for line in lines:
            click.echo(f"  {line}")


def _versions() -> Iterator[str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    yield f"lesionsplit {version('lesionsplit')}, Python {platform.python_version()}, {platform.platform()}"
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:  # noqa: PERF203  each package is independent
            yield f"{name}: not installed"


def _devices() -> Iterator[str]:
    import os
    from importlib.util import find_spec

    from lesionsplit import cores
    from lesionsplit.models.device import has_gpu
    from lesionsplit.models.onnx_file import runtime_has_cuda

    yield f"cpu: {os.cpu_count()} cores, of which this process may use {cores.available()}"
    if find_spec("torch"):
        import torch

        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            yield f"cuda:{number}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        if torch.backends.mps.is_available():
            yield "mps"
    elif has_gpu():
        yield f"cuda: {'used by ONNX Runtime' if runtime_has_cuda() else 'not used; install onnxruntime-gpu or torch'}"


def _engines() -> Iterator[str]:
    from importlib.util import find_spec

    yield "onnx (default)"
    yield "torch" if find_spec("torch") else "torch: not installed; pip install 'lesionsplit[train]'"


def _weights() -> Iterator[str]:
    from lesionsplit.models.card import digest
    from lesionsplit.models.open_engine import open_engine

    card = open_engine(engine="onnx").card
    yield f"default: method {card.method.name}, {card.trained.get('supervision', 'not stated')}"
    yield f"SHA-256 {digest()}"
    yield f"threshold {card.threshold:.4g}: {card.threshold_from}"
    for name, one in card.thresholds.items():
        yield f"--threshold {name} is {one.value:.4g}: {one.promise}"
    yield "licence Apache-2.0; trained on covid-cell, Apache-2.0; for research, not a medical device"


def _cache() -> Iterator[str]:
    from platformdirs import user_cache_path

    folder: Path = user_cache_path("lesionsplit", appauthor=False)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    yield f"{folder}: {size / 1e6:.1f} MB"
