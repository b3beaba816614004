"""Whether MindSpore is there, and on which device it runs; imports it only when asked."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from importlib import import_module

import torch

from lesionsplit.errors import SettingsError
from lesionsplit.methods.decomposition import DecompositionSettings
from lesionsplit.methods.table import AnyMethod

NEWEST_PYTHON = (3, 12)
"""MindSpore 2.10 has no wheel for a later one."""

ALLOWED = "allowed: auto, cpu, ascend, ascend:N"


def require_mindspore() -> None:
    """Import MindSpore, with its log for developers off.

    Raises:
        SettingsError: it is not installed, or there is none for this Python.
    """
    os.environ.setdefault("GLOG_v", "3")  # errors only
    try:
        import_module("mindspore")
    except ImportError:
        newest, here = (".".join(map(str, one[:2])) for one in (NEWEST_PYTHON, sys.version_info))
        if sys.version_info[:2] > NEWEST_PYTHON:
            raise SettingsError(
                f"mindspore is not available for Python {here}; allowed: up to {newest}: use such a Python, or torch"
            ) from None
        raise SettingsError("mindspore is not installed; it comes with: pip install 'lesionsplit[mindspore]'") from None


def choose_device(name: str) -> str:
    """Make MindSpore run on a device, and return its name; ``auto`` is an Ascend processor where there is one.

    Raises:
        SettingsError: there is no such device, or it is not available.
    """
    import mindspore

    if name == "auto":
        return str(mindspore.get_context("device_target")).lower()
    found = re.fullmatch(r"cpu|ascend(?::(\d{1,3}))?", name)
    if found is None:
        raise SettingsError(f"device {name!r} is not one of MindSpore's; {ALLOWED}")
    wanted = "CPU" if name == "cpu" else "Ascend", int(found[1] or 0)
    try:
        if tuple(mindspore.get_current_device()) != wanted:  # it can be set only before anything is computed
            mindspore.set_device(*wanted)
    except (RuntimeError, ValueError):
        raise SettingsError(f"device {name!r} is not available to MindSpore on this machine; {ALLOWED}") from None
    return name


@cache
def use_threads_of_torch() -> None:
    """Give MindSpore's kernels on the CPU as many threads as PyTorch uses; by itself it takes all cores.

    They can be set once in a process.
    """
    import mindspore

    mindspore.device_context.cpu.op_tuning.threads_num(torch.get_num_threads())


def require_form(method: AnyMethod) -> DecompositionSettings:
    """The settings of a method, if it has a form in MindSpore.

    Raises:
        SettingsError: it has none.
    """
    if not isinstance(method, DecompositionSettings):
        name = method.__struct_config__.tag
        raise SettingsError(f"method {name!r} needs torch; allowed with mindspore: decomposition (--config paper)")
    if method.network.backbone != "plain":
        raise SettingsError(
            f"method.network.backbone: is {method.network.backbone}, which needs torch; allowed with mindspore: plain"
        )
    return method
