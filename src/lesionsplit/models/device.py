"""Which device a network runs on. Nothing here imports PyTorch unless it is needed."""

from __future__ import annotations

import ctypes
import re
import sys
from functools import cache
from typing import TYPE_CHECKING

from lesionsplit import cores
from lesionsplit.errors import SettingsError, needs_training_packages

if TYPE_CHECKING:
    import torch

ALLOWED = "auto, cpu, cuda, cuda:N, mps"


def on_gpu(device: str) -> bool:
    """Whether a device is a GPU; ``auto`` is one where the machine has one of Nvidia's.

    Raises:
        SettingsError: there is no such device.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps|ascend(:\d+)?", device):  # the last is MindSpore's
        raise SettingsError(f"device {device!r} is not available; allowed: {ALLOWED}")
    return device.startswith(("cuda", "mps")) or (device == "auto" and has_gpu())


@cache
def has_gpu() -> bool:
    """Whether the machine has a GPU of Nvidia's. Its driver is asked: loading PyTorch to ask would take a second."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def choose_device(name: str) -> torch.device:
    """PyTorch's device with a name; ``auto`` is a GPU where there is one.

    Raises:
        SettingsError: PyTorch does not know the device, or it is not available, or PyTorch is not installed.
    """
    with needs_training_packages():
        import torch
    cores.set_those_of_torch()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise SettingsError(f"device {name!r} is not available; allowed: {ALLOWED}") from None
    return device
