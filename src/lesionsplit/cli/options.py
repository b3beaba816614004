"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lesionsplit.runtime import Runtime

FILE = click.Path(path_type=Path)


class Number(click.FloatRange):
    """A finite number in a range; click's own compares with the bounds, which NaN passes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; a usage error if it is not one, not finite or out of range."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def _number_or_name(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | str | None:
    """A threshold as a number where it is one; the weights decide which names there are."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return value


threshold = click.option(
    "--threshold",
    metavar="NUMBER|NAME",
    callback=_number_or_name,
    help="Lowest score that counts as lesion, or specific or sensitive (see `lesionsplit info`).  [default: the one in "
    "the weights]",
)
device = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:N or mps; of MindSpore auto, cpu, ascend or ascend:N.",
)
threads = click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
engine = click.option(
    "--engine",
    type=click.Choice(["torch", "onnx", "mindspore"]),
    help="What runs the network.  [default: onnx for what is exported, else torch; torch on a GPU]",
)


def runtime_of(given: dict[str, Any]) -> Runtime:
    """Device, threads and engine as the user gave them, with progress on the terminal."""
    from lesionsplit.cli.console import bar, say, warn
    from lesionsplit.runtime import Runtime

    chosen = {name: given[name] for name in ("device", "threads", "engine", "framework") if given.get(name) is not None}
    return Runtime(progress=bar, say=say, warn=warn, **chosen)
