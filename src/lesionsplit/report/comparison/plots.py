"""The figures drawn: files beside the page, and the same inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lesionsplit.images import write_bytes
from lesionsplit.report.comparison import words
from lesionsplit.report.comparison.differences import compared, precision_differences
from lesionsplit.report.comparison.names import judges
from lesionsplit.report.comparison.sections import Plot, svg_uri
from lesionsplit.study.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WITHOUT = "No plots: they need matplotlib (pip install 'lesionsplit[plots]'); all numbers are in the tables and files."


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure that can be drawn."""

    name: str
    """Of the files, and of its place in the page."""

    said: str
    caption: str
    draw: Callable[[], Figure]
    narrow: Callable[[], Figure] | None
    """The same for a narrow screen; None where it is narrow."""


def can_draw() -> bool:
    """Whether matplotlib, which is optional, is installed."""
    return find_spec("matplotlib") is not None


def drawings(comparison: Comparison) -> Iterator[Drawing]:
    """The figures that there are numbers for; needs matplotlib."""
    from lesionsplit.report.comparison.dots import differences_figure, unbiased_figure
    from lesionsplit.report.comparison.figures import curves_figure, dice_figure

    several = len(comparison.evaluation.chance) > 1
    if not comparison.evaluation.chance:
        return
    for name, figure in (("figure-2-curves", "methods"), ("figure-4-curves", "ablations")):
        if figure == "methods" or has_ablations(comparison):
            yield Drawing(
                name=name,
                said="Precision over recall of each entry, a panel for each annotator; the numbers are in the tables.",
                caption=words.curves_caption(comparison, figure),
                draw=partial(curves_figure, comparison, figure),
                narrow=partial(curves_figure, comparison, figure, stacked=True) if several else None,
            )
    yield Drawing(
        name="figure-3-dice",
        said="Dice over the threshold of each method, a panel for each annotator; the numbers are in the tables.",
        caption=words.dice_caption(comparison),
        draw=partial(dice_figure, comparison),
        narrow=partial(dice_figure, comparison, stacked=True) if several else None,
    )
    yield Drawing(
        name="unbiased",
        said="Average precision of each entry with its interval, by who judges; the numbers are in the tables.",
        caption=words.unbiased_caption(comparison),
        draw=partial(unbiased_figure, comparison),
        narrow=partial(unbiased_figure, comparison, narrow=True),
    )
    if has_differences(comparison):
        yield Drawing(
            name="differences",
            said="Average precision less the reference's with its interval; the numbers are in the tables.",
            caption=words.forest_caption(comparison),
            draw=partial(differences_figure, comparison),
            narrow=partial(differences_figure, comparison, stacked=True) if several else None,
        )


def has_ablations(comparison: Comparison) -> bool:
    """Whether there is any beside the reference."""
    return any(one.entry.figure == "ablations" and one.label != comparison.reference for one in comparison.shown())


def has_differences(comparison: Comparison) -> bool:
    """Whether any entry can be compared with the reference by average precision."""
    found = judges(comparison.evaluation)
    return bool(compared(comparison)) and any(precision_differences(comparison, judge) for judge in found)


def write_plot(folder: Path, drawing: Drawing) -> tuple[Plot, list[Path]]:
    """Write a figure as PNG and SVG; returns it as the page shows it, and the files.

    Raises:
        DataError: a file cannot be written.
    """
    from lesionsplit.report.curves import encoded

    figure = drawing.draw()
    wide = encoded(figure, "svg")
    paths = [folder / f"{drawing.name}.png", folder / f"{drawing.name}.svg"]
    for path, content in zip(paths, (encoded(figure, "png"), wide), strict=True):
        write_bytes(path, content)
    narrow = svg_uri(encoded(drawing.narrow(), "svg")) if drawing.narrow else None
    return Plot(wide=svg_uri(wide), narrow=narrow, said=drawing.said, caption=drawing.caption), paths
