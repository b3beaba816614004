"""From a comparison to its report: two pages, and their parts as files.

FOLDER/
report.html              everything, in one file
paper.html               the paper's printed numbers beside ours, and what differs
figure-2-slices.png      slices, every method's heat maps, and what the reference finds
figure-2-curves          precision over recall, as PNG and SVG like all that follow without an ending
figure-3-dice            Dice over the threshold
figure-4-slices.png      the ablations' heat maps
figure-4-curves
unbiased                 average precision by who judges
differences              less the reference's
table.csv                every number; table.md and table.tex: the tables of the page
differences.csv          every difference to the reference
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lesionsplit.images import write_bytes, write_image
from lesionsplit.progress import Progress, silent
from lesionsplit.report.comparison import paper, words
from lesionsplit.report.comparison.cells import NumberTable
from lesionsplit.report.comparison.differences import differences_table, slices_differences_table, verdicts
from lesionsplit.report.comparison.numbers import differences_to_csv, to_csv
from lesionsplit.report.comparison.pictures import as_sheet, choose_slices, draw_pictures
from lesionsplit.report.comparison.plots import WITHOUT, can_draw, drawings, has_ablations, write_plot
from lesionsplit.report.comparison.sections import Gallery, Plot, Section, gallery, render
from lesionsplit.report.comparison.tables import against_table, costs_table, seeds_table, slices_table
from lesionsplit.report.comparison.unbiased import Drop, cross_table, drops, drops_table, sentences
from lesionsplit.report.comparison.written import to_latex, to_markdown
from lesionsplit.study.comparison import Comparison

REPORT, PAPER = "report.html", "paper.html"
PICTURES = {"methods": "figure-2-slices.png", "ablations": "figure-4-slices.png"}

NO_SLICES = "No slices are shown: the split has none with lesion."
NO_MASKS = "Nothing is measured against masks: nobody outlined anything in this split."
NO_ABLATIONS = "This study has no ablations."
NO_DIFFERENCES = "No differences: there is nothing that the reference could be compared with."
ONE_SEED = "Every entry was trained with one seed, or not at all: how much a seed does is not known here."


def write_comparison(folder: Path, comparison: Comparison, progress: Progress = silent) -> list[Path]:
    """Write the report of a comparison and all of its parts; returns the files, the two pages first.

    What there is no data for is left out, and the page says so in a line; without matplotlib, the plots.

    Args:
        folder: to write to, made if need be; what is there of an earlier report and is not of this one, stays.
        comparison: all numbers come from it, and the heat maps of the slices shown.
        progress: shows how far it is.

    Raises:
        DataError: a file cannot be written, or a slice or mask cannot be read.
    """
    galleries, written = _write_pictures(folder, comparison, progress)
    plots: dict[str, Plot] = {}
    if can_draw():
        found = list(drawings(comparison))
        for drawing in progress(found, len(found), "Drawing figures"):
            plots[drawing.name], paths = write_plot(folder, drawing)
            written += paths
    found_drops = drops(comparison)
    known = _tables(comparison, found_drops)
    tables = [table for table in known.values() if table is not None]
    scope = [words.scope(comparison), words.conventions(comparison), words.trainings(comparison), words.BOUNDS]
    report = render(
        comparison.study.title,
        _report(comparison, known, found_drops, galleries, plots),
        back=(PAPER, "Beside the paper's printed numbers"),
    )
    beside = render(f"{comparison.study.title}: beside the paper", _paper(comparison), back=(REPORT, "The report"))
    parts = {
        REPORT: report,
        PAPER: beside,
        "table.csv": to_csv(comparison).encode(),
        "table.md": to_markdown(comparison.study.title, scope, tables).encode(),
        "table.tex": to_latex(tables).encode(),
        "differences.csv": differences_to_csv(comparison).encode(),
    }
    for name, content in parts.items():
        write_bytes(folder / name, content)
    return [*(folder / name for name in parts), *written]


def _write_pictures(folder: Path, comparison: Comparison, progress: Progress) -> tuple[dict[str, Gallery], list[Path]]:
    rows = choose_slices(comparison.table, comparison.study.examples)
    wanted = ["methods", *(["ablations"] if has_ablations(comparison) else [])] if rows else []
    galleries, written = {}, []
    for figure in progress(wanted, len(wanted), "Drawing slices"):
        pictures = draw_pictures(comparison, figure, rows)
        write_image(folder / PICTURES[figure], as_sheet(pictures))
        written.append(folder / PICTURES[figure])
        galleries[figure] = gallery(pictures, words.slices_caption(comparison, figure, len(rows)))
    return galleries, written


def _tables(comparison: Comparison, found: Sequence[Drop]) -> dict[str, NumberTable | None]:
    """In the order of the files."""
    return {
        "against": against_table(comparison),
        "slices": slices_table(comparison),
        "differences": differences_table(comparison),
        "differences-agreed": differences_table(comparison, agreed=True),
        "differences-slices": slices_differences_table(comparison),
        "cross": cross_table(comparison),
        "drops": drops_table(comparison, found),
        "seeds": seeds_table(comparison),
        "costs": costs_table(comparison),
    }


def _report(
    comparison: Comparison,
    tables: Mapping[str, NumberTable | None],
    found: Sequence[Drop],
    galleries: Mapping[str, Gallery],
    plots: Mapping[str, Plot],
) -> list[Section]:
    masks = bool(comparison.evaluation.chance)

    def chosen(*names: str) -> tuple[NumberTable, ...]:
        return tuple(table for name in names if (table := tables[name]) is not None)

    def drawn(*names: str) -> tuple[Plot, ...]:
        return tuple(plots[name] for name in names if name in plots)

    def absent(*reasons: tuple[bool, str]) -> tuple[str, ...]:
        return tuple(reason for applies, reason in reasons if applies)

    undrawn = (not can_draw(), WITHOUT)
    compared = tables["differences"] is not None or tables["differences-slices"] is not None
    ablations = has_ablations(comparison)
    return [
        Section(
            key="what",
            heading="What was measured",
            words=(words.scope(comparison), words.conventions(comparison), words.trainings(comparison), words.BOUNDS),
            absent=absent(undrawn, (not masks, NO_MASKS)),
        ),
        Section(
            key="figure-2",
            heading="Methods on slices, and precision over recall (Figure 2)",
            gallery=galleries.get("methods"),
            plots=drawn("figure-2-curves"),
            absent=absent(("methods" not in galleries, NO_SLICES), (not masks, NO_MASKS)),
        ),
        Section(
            key="figure-3",
            heading="Dice over the threshold (Figure 3)",
            plots=drawn("figure-3-dice"),
            absent=absent((not masks, NO_MASKS), (masks and undrawn[0], WITHOUT)),
        ),
        Section(key="numbers", heading="The numbers", tables=chosen("against", "slices")),
        Section(
            key="difference",
            heading=f"Differences to {comparison.reference}",
            words=tuple(verdicts(comparison)),
            plots=drawn("differences"),
            tables=chosen("differences", "differences-agreed", "differences-slices"),
            absent=absent((not compared, NO_DIFFERENCES)),
        ),
        Section(
            key="unbiased",
            heading="Unbiased? Who judges, and whose masks were seen",
            points=tuple(sentences(comparison, found)),
            plots=drawn("unbiased"),
            tables=chosen("cross", "drops"),
        ),
        Section(
            key="figure-4",
            heading="Ablations (Figure 4)",
            gallery=galleries.get("ablations"),
            plots=drawn("figure-4-curves"),
            absent=absent((not ablations, NO_ABLATIONS), (ablations and not galleries, NO_SLICES)),
        ),
        Section(
            key="seed",
            heading="Seeds",
            tables=chosen("seeds"),
            absent=absent((tables["seeds"] is None, ONE_SEED)),
        ),
        Section(key="cost", heading="What it takes", tables=chosen("costs")),
    ]


def _paper(comparison: Comparison) -> list[Section]:
    masks = bool(comparison.evaluation.chance)
    return [
        Section(
            key="what",
            heading="What is beside what",
            words=(
                f"The paper: {paper.CITATION}. Its numbers are those that its text prints, with their places.",
                f"Here: {words.scope(comparison)} {words.trainings(comparison)}",
                "An entry is taken for the paper's method by its name. " + words.BOUNDS,
            ),
            absent=() if masks else (NO_MASKS,),
        ),
        Section(key="differs", heading="What differs in data and protocol", points=paper.DIFFERENCES),
        Section(
            key="area",
            heading="Areas under the curves (Figures 2 and 4)",
            tables=(paper.areas_table(comparison),),
            points=tuple(paper.orders(comparison)),
        ),
        Section(key="overlap", heading="Dice (Figure 3)", tables=(paper.dices_table(comparison),)),
    ]
