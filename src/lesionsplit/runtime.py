"""How a command runs, whatever it does: on which device, with how many threads, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lesionsplit import cores
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
    """CPU threads; by default one for each core that the process may use."""

    engine: EngineName | None = None
    """What runs the network in prediction; by default ONNX Runtime for what is exported, and PyTorch otherwise."""

    framework: FrameworkName | None = None
    """What computes a training; by default PyTorch, or that of a continued run."""

    progress: Progress = silent
    """Shows how far a loop is."""

    say: Callable[[str], None] = ignore
    """Receives remarks on what is done."""

    warn: Callable[[str], None] = ignore
    """Receives a line about each failure, and about what makes a result doubtful."""

    def begin(self) -> None:
        """Set the number of threads, and keep freed memory for the process."""
        if self.threads:
            cores.use(self.threads)
        keep_freed_memory()
