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

    import torch

    yield f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        yield f"cuda:{number}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        yield "mps"


def _engines() -> Iterator[str]:
    from importlib.util import find_spec

    yield "torch (default)"
    missing = [name for name in ("onnxruntime", "onnx", "onnxscript") if find_spec(name) is None]
    yield "onnx" if not missing else "onnx: not installed; pip install 'lesionsplit[onnx]'"


def _weights() -> Iterator[str]:
    from lesionsplit.models.model import Model, digest

    card = Model.load().card
    yield f"default: method {card.method.__struct_config__.tag}, {card.trained.get('supervision', 'not stated')}"
    yield f"SHA-256 {digest()}"
    yield f"threshold {card.threshold:.4g}: {card.threshold_from}"
    yield "licence Apache-2.0; trained on covid-cell, Apache-2.0; for research, not a medical device"


def _cache() -> Iterator[str]:
    from platformdirs import user_cache_path

    folder: Path = user_cache_path("lesionsplit", appauthor=False)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    yield f"{folder}: {size / 1e6:.1f} MB"
