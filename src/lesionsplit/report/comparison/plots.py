"""The figures of a comparison, as files and inside the page."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lesionsplit.comparison.result import Comparison
from lesionsplit.images import write_bytes
from lesionsplit.report.comparison import captions as words
from lesionsplit.report.comparison.differences import precision_differences
from lesionsplit.report.comparison.sections import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WITHOUT = "No plots: they need matplotlib (pip install 'lesionsplit[plots]'). All numbers are in the tables and files."


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure that can be drawn."""

    name: str
    """Of the files, and of its place in the page."""

    alternative: str
    """Text for those who cannot see the figure."""

    caption: str
    draw: Callable[..., Figure]
    """With ``stacked=True``, for a narrow screen."""

    stacks: bool
    """Whether the figure is different on a narrow screen."""


def can_draw() -> bool:
    """Whether matplotlib, which is optional, is installed."""
    return find_spec("matplotlib") is not None


def drawings(comparison: Comparison) -> Iterator[Drawing]:
    """The figures for which there are numbers; needs matplotlib."""
    from lesionsplit.report.comparison.dots import differences_figure, unbiased_figure
    from lesionsplit.report.comparison.figures import curves_figure, dice_figure

    several = len(comparison.evaluation.chance) > 1
    if not comparison.evaluation.chance:
        return
    panels = "a panel for each annotator; the numbers are in the tables."
    for name, figure in (("figure-2-curves", "methods"), ("figure-4-curves", "ablations")):
        if figure == "methods" or has_ablations(comparison):
            yield Drawing(
                name=name,
                alternative=f"Precision over recall, {panels}",
                caption=words.curves_caption(comparison, figure),
                draw=partial(curves_figure, comparison, figure),
                stacks=several,
            )
    yield Drawing(
        name="figure-3-dice",
        alternative=f"Dice over the threshold, {panels}",
        caption=words.dice_caption(comparison),
        draw=partial(dice_figure, comparison),
        stacks=several,
    )
    yield Drawing(
        name="unbiased",
        alternative="Average precision with intervals, by annotator; the numbers are in the tables.",
        caption=words.unbiased_caption(comparison),
        draw=partial(unbiased_figure, comparison),
        stacks=True,
    )
    if any(precision_differences(comparison, judge) for judge in comparison.evaluation.judges):
        yield Drawing(
            name="differences",
            alternative="Differences of average precision with intervals; the numbers are in the tables.",
            caption=words.forest_caption(comparison),
            draw=partial(differences_figure, comparison),
            stacks=several,
        )


def has_ablations(comparison: Comparison) -> bool:
    """Whether there is any ablation besides the reference."""
    return any(one.settings.figure == "ablations" and one.label != comparison.reference for one in comparison.shown())


def write_plot(folder: Path, drawing: Drawing) -> tuple[Plot, list[Path]]:
    """Write a figure as PNG and SVG; returns the figure for the page, and the files.

    Raises:
        DataError: a file cannot be written.
    """
    paths, svg = write_figure(folder, drawing.name, drawing.draw())
    narrow = _encoded(drawing.draw(stacked=True), "svg") if drawing.stacks else None
    return Plot(wide=svg, narrow=narrow, alternative=drawing.alternative, caption=drawing.caption), paths


def write_figure(folder: Path, name: str, figure: Figure) -> tuple[list[Path], bytes]:
    """Write a figure as PNG and SVG; returns the files and the SVG.

    Raises:
        DataError: a file cannot be written.
    """
    svg = _encoded(figure, "svg")
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    for path, content in zip(paths, (_encoded(figure, "png"), svg), strict=True):
        write_bytes(path, content)
    return paths, svg


def _encoded(figure: Figure, kind: str) -> bytes:
    """A figure as a ``png`` or ``svg`` file; the same figure gives the same bytes."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "lesionsplit"}):
        figure.savefig(buffer, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()
