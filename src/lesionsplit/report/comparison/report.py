"""The report of a comparison: two pages, and their parts as files.

FOLDER/
report.html              everything, in one file
paper.html               the paper's printed numbers beside ours, and the differences in data and protocol
figure-2-slices.png      slices, every method's heat maps, and the lesion that the reference finds
figure-2-curves          precision over recall; PNG and SVG, like every name here without an ending
figure-3-dice            Dice over the threshold
figure-4-slices.png      the ablations' heat maps
figure-4-curves
unbiased                 average precision by annotator
differences              average precision less that of the reference
table.csv                every number; table.md and table.tex have the tables of the page
differences.csv          every difference to the reference
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lesionsplit.comparison.examples import Examples
from lesionsplit.comparison.result import Comparison
from lesionsplit.images import write_bytes, write_image
from lesionsplit.progress import Progress, silent
from lesionsplit.report.comparison import captions as words
from lesionsplit.report.comparison import paper
from lesionsplit.report.comparison.cells import NumberTable
from lesionsplit.report.comparison.differences import differences_table, slices_differences_table, verdicts
from lesionsplit.report.comparison.numbers import differences_to_csv, to_csv
from lesionsplit.report.comparison.plots import WITHOUT, can_draw, drawings, has_ablations, write_plot
from lesionsplit.report.comparison.sections import Plot, Section, render
from lesionsplit.report.comparison.slice_tiles import SliceTiles, as_image, draw_tiles
from lesionsplit.report.comparison.tables import (
    against_table,
    annotators_table,
    costs_table,
    healthy_table,
    removal_table,
    seeds_table,
    slices_table,
)
from lesionsplit.report.comparison.unbiased import Drop, cross_table, drops, drops_table, sentences
from lesionsplit.report.comparison.writers import to_latex, to_markdown

REPORT, PAPER = "report.html", "paper.html"
SLICES = {"methods": "figure-2-slices.png", "ablations": "figure-4-slices.png"}

NO_SLICES = "No slices are shown: the split has no lesion slices."
NO_MASKS = "Nothing is measured against masks: the split has no masks."
NO_ABLATIONS = "This comparison has no ablations."
NO_DIFFERENCES = "No differences: there is nothing to compare with the reference."
ONE_SEED = "No entry was trained with more than one seed, so the variance between seeds is not known."


def write_comparison(
    folder: Path, comparison: Comparison, examples: Examples, progress: Progress = silent
) -> list[Path]:
    """Write the report of a comparison and all of its parts; returns the files, the two pages first.

    Parts without data are left out, as are plots without matplotlib; the page names them.

    Args:
        folder: made if it does not exist; files of an earlier report that this one does not have are kept.
        comparison: all numbers.
        examples: the slices that are shown, with their heat maps.
        progress: shows the progress.

    Raises:
        DataError: a file cannot be written, or a slice or mask cannot be read.
    """
    galleries, written = _write_slices(folder, comparison, examples, progress)
    plots: dict[str, Plot] = {}
    if can_draw():
        found = list(drawings(comparison))
        for drawing in progress(found, len(found), "Drawing figures"):
            plots[drawing.name], paths = write_plot(folder, drawing)
            written += paths
    title, scope, found_drops = comparison.config.title, _scope(comparison), drops(comparison)
    tables = {table.key: table for table in _tables(comparison, found_drops) if table is not None}
    parts = {
        REPORT: render(
            title,
            _report(comparison, tables, sentences(comparison, found_drops), galleries, plots),
            back=(PAPER, "Comparison with the paper's printed numbers"),
        ),
        PAPER: render(f"{title}: comparison with the paper", _paper(comparison), back=(REPORT, "The report")),
        "table.csv": to_csv(comparison).encode(),
        "table.md": to_markdown(title, scope, tables.values()).encode(),
        "table.tex": to_latex(tables.values()).encode(),
        "differences.csv": differences_to_csv(comparison).encode(),
    }
    for name, content in parts.items():
        write_bytes(folder / name, content)
    return [*(folder / name for name in parts), *written]


def _write_slices(
    folder: Path, comparison: Comparison, examples: Examples, progress: Progress
) -> tuple[dict[str, SliceTiles], list[Path]]:
    wanted = [figure for figure in SLICES if examples.rows and (figure == "methods" or has_ablations(comparison))]
    galleries = {}
    for figure in progress(wanted, len(wanted), "Drawing slices"):
        galleries[figure] = draw_tiles(comparison, figure, examples)
        write_image(folder / SLICES[figure], as_image(galleries[figure]))
    return galleries, [folder / SLICES[figure] for figure in wanted]


def _scope(comparison: Comparison) -> list[str]:
    return [words.scope(comparison), words.conventions(comparison), words.trainings(comparison), words.BOUNDS]


def _tables(comparison: Comparison, found: Sequence[Drop]) -> list[NumberTable | None]:
    """In the order of the files."""
    return [
        against_table(comparison),
        annotators_table(comparison),
        slices_table(comparison),
        healthy_table(comparison),
        removal_table(comparison),
        differences_table(comparison),
        differences_table(comparison, agreed=True),
        slices_differences_table(comparison),
        cross_table(comparison),
        drops_table(comparison, found),
        seeds_table(comparison),
        costs_table(comparison),
    ]


def _report(
    comparison: Comparison,
    tables: Mapping[str, NumberTable],
    bias: Sequence[str],
    galleries: Mapping[str, SliceTiles],
    plots: Mapping[str, Plot],
) -> list[Section]:
    masks, ablations = bool(comparison.evaluation.chance), has_ablations(comparison)
    no_masks, no_plots = [NO_MASKS] * (not masks), [WITHOUT] * (not can_draw())

    def chosen(*names: str) -> list[NumberTable]:
        return [tables[name] for name in names if name in tables]

    def drawn(name: str) -> list[Plot]:
        return [plots[name]] if name in plots else []

    return [
        Section(key="what", heading="What was measured", words=_scope(comparison), absent=[*no_plots, *no_masks]),
        Section(
            key="figure-2",
            heading="Methods on slices, and precision over recall (Figure 2)",
            gallery=galleries.get("methods"),
            plots=drawn("figure-2-curves"),
            absent=[*[NO_SLICES] * ("methods" not in galleries), *no_masks],
        ),
        Section(
            key="figure-3",
            heading="Dice over the threshold (Figure 3)",
            plots=drawn("figure-3-dice"),
            absent=no_masks or no_plots,
        ),
        Section(
            key="numbers", heading="Numbers", tables=chosen("against", "annotators", "slices", "healthy", "removal")
        ),
        Section(
            key="difference",
            heading=f"Differences to {comparison.reference}",
            words=verdicts(comparison),
            plots=drawn("differences"),
            tables=chosen("differences", "differences-agreed", "differences-slices"),
            absent=[] if chosen("differences", "differences-slices") else [NO_DIFFERENCES],
        ),
        Section(
            key="unbiased",
            heading="Bias towards an annotator",
            points=bias,
            plots=drawn("unbiased"),
            tables=chosen("cross", "drops"),
        ),
        Section(
            key="figure-4",
            heading="Ablations (Figure 4)",
            gallery=galleries.get("ablations"),
            plots=drawn("figure-4-curves"),
            absent=[NO_ABLATIONS] if not ablations else [] if galleries else [NO_SLICES],
        ),
        Section(key="seed", heading="Seeds", tables=chosen("seeds"), absent=[] if "seeds" in tables else [ONE_SEED]),
        Section(key="cost", heading="Supervision and cost", tables=chosen("costs")),
    ]


def _paper(comparison: Comparison) -> list[Section]:
    return [
        Section(
            key="what",
            heading="What is compared",
            words=(
                f"The paper: {paper.CITATION}. Its numbers are those printed in the text, with their places.",
                f"Here: {words.scope(comparison)} {words.trainings(comparison)}",
                "Entries stand for the paper's methods of the same name. " + words.BOUNDS,
            ),
            absent=() if comparison.evaluation.chance else (NO_MASKS,),
        ),
        Section(key="differs", heading="Differences in data and protocol", points=paper.DIFFERENCES),
        Section(
            key="area",
            heading="Areas under the curves (Figures 2 and 4)",
            tables=(paper.areas_table(comparison),),
            points=paper.orders(comparison),
        ),
        Section(key="overlap", heading="Dice (Figure 3)", tables=(paper.dices_table(comparison),)),
    ]
