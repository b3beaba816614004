"""Which device a network runs on."""

from __future__ import annotations

import torch

from lesionsplit.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """The device with a name; ``auto`` is a GPU where there is one.

    Raises:
        SettingsError: PyTorch does not know the device, or it is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise SettingsError(f"device {name!r} is not available; allowed: auto, cpu, cuda, cuda:N, mps") from None
    return device
