"""How a command runs, whatever it does: on which device, with how many threads, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from lesionsplit.errors import SettingsError
from lesionsplit.memory import keep_freed_memory
from lesionsplit.progress import Progress, silent

EngineName: TypeAlias = Literal["torch", "onnx", "mindspore"]
FrameworkName: TypeAlias = Literal["torch", "mindspore"]


def ignore(_: str) -> None:
    """Print nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What every long job takes besides its own settings."""

    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; ``auto`` is a GPU where there is one. With MindSpore:
    ``auto``, ``cpu``, ``ascend`` or ``ascend:1``."""

    threads: int | None = None
    """CPU threads; by default as many as PyTorch chooses."""

    engine: EngineName | None = None
    """What runs the network in prediction; by default ONNX Runtime for a file that was exported, PyTorch otherwise."""

    framework: FrameworkName | None = None
    """What computes a training; by default PyTorch, or that of a continued run."""

    progress: Progress = silent
    """Shows how far a loop is."""

    say: Callable[[str], None] = ignore
    """Receives remarks on what is done."""

    warn: Callable[[str], None] = ignore
    """Receives a line about each failure, and about what makes a result doubtful."""

    def engine_for(self, weights: Path | None) -> EngineName:
        """The engine for a weights file.

        Raises:
            SettingsError: another engine is asked to run a file that was exported for ONNX Runtime.
        """
        if self.engine in ("torch", "mindspore") and weights is not None and weights.suffix == ".onnx":
            raise SettingsError(
                f"{weights}: is a file for ONNX Runtime, and the engine is {self.engine}; leave the engine out"
            )
        return self.engine or "torch"

    def begin(self) -> None:
        """Set the number of threads, and keep freed memory for the process."""
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)
        keep_freed_memory()
