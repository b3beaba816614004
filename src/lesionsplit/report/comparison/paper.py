"""The numbers printed in the paper, with their places, beside those of the comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from lesionsplit.comparison.result import Comparison, Entry
from lesionsplit.evaluation.result import FIXED_THRESHOLD
from lesionsplit.evaluation.score_histogram import dice, place_of
from lesionsplit.report.comparison.cells import Cell, NumberTable, Row, estimate_cell
from lesionsplit.report.comparison.names import is_upper_bound, shown_name

CITATION = (
    "Yang et al., Towards unbiased COVID-19 lesion localisation and segmentation via weakly supervised learning, "
    "ISBI 2021, arXiv 2103.00780"
)
CURVE = "curve only, no number"
FIGURE_2 = "section 3.2, Figure 2 right; COVID-19 Image Data Collection"
FIGURE_3 = "section 3.2, Figure 3; COVID-cell"
FIGURE_4 = "section 3.3, Figure 4 right; COVID-cell"
LOW, HIGH = 0.1, 0.4
"""Thresholds between which the paper's Dice is above 0.7."""


Measure: TypeAlias = Callable[[Comparison, str, str], Cell]
"""A number of an entry, by label, against an annotator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """One of the paper's methods."""

    paper: str
    value: str
    place: str
    entry: str
    """The name of the entry that stands for it."""


AREAS = (
    Printed(paper="our approach", value="0.63", place=FIGURE_2, entry="decomposition"),
    Printed(paper="BL", value="0.36", place=FIGURE_2, entry="bl"),
    Printed(paper="VA-GAN", value=CURVE, place=FIGURE_2, entry="va-gan"),
    Printed(paper="Grad-CAM", value="0.179", place=FIGURE_2, entry="grad-cam"),
    Printed(paper="CAM", value="0.061", place=FIGURE_2, entry="cam"),
    Printed(paper="without normal fidelity loss", value=CURVE, place=FIGURE_4, entry="no-fidelity"),
    Printed(paper="without lesion decoder", value=CURVE, place=FIGURE_4, entry="no-lesion-decoder"),
    Printed(paper="without discriminator", value=CURVE, place=FIGURE_4, entry="no-critic"),
)
DICES = (Printed(paper="our approach", value="above 0.7", place=FIGURE_3, entry="decomposition"),)

DIFFERENCES = (
    "According to the caption of Figure 2, the paper's areas are of the COVID-19 Image Data Collection: 493 lesion "
    "slices of 20 cases; the paper says that their outlines are not that accurate around the boundary. Its Dice and "
    "its ablations (Figures 3 and 4) are of 128 lesion slices of COVID-cell, which are not in its training set.",
    "The authors' release does not have the masks of those 128 slices: their code evaluates on a missing folder, and "
    "the training and evaluation lesion slices of the release are the same 2142 images. So neither the areas nor the "
    "Dice can be measured again. The repository does not have the authors' weights either.",
    "The release has several sets of masks of the same slices. They differ from each other, and their source is not "
    "stated. A number against one set cannot be compared with a number against another.",
    "The paper trains with 2007 normal and 870 lesion slices at 256 × 256 in batches of 8. It states neither the "
    "number of steps, nor the number of seeds, nor an interval. The authors' code evaluates one fixed epoch.",
    "The paper's area is that under the precision-recall curve, by the trapezoid rule in the authors' code. Here it is "
    "average precision, the sum of precision times the step in recall. For one untrained map on the released slices, "
    "the trapezoid rule gave 0.008 to 0.012 more.",
    "The paper scores the output of its lesion decoder, mapped from −1 to 1 to 0 to 1. The authors' code scores "
    "|x − G1| in 8 bit, and its two decoders share all weights except for the last convolution.",
    "The authors' repository has neither BL, VA-GAN and the CAMs nor the ablations: their settings are known only from "
    "the paper's text (a ResNet-18 for the CAMs).",
)


def areas_table(comparison: Comparison) -> NumberTable:
    """Areas under curves: the paper's, and the average precision of the entry of the same name."""
    named = {printed.entry for printed in AREAS}
    rows = [_row(comparison, printed, _measure("average_precision")) for printed in AREAS]
    rows += [
        Row(
            name="not in the paper",
            cells=[Cell(), Cell(shown_name(one)), *_cells(comparison, one, _measure("average_precision"))],
            upper_bound=is_upper_bound(one),
        )
        for one in comparison.shown()
        if one.settings.name not in named
    ]
    caption = "Area under the precision-recall curve: printed in the paper, and measured here on other slices."
    return _table(comparison, "areas", caption, ("printed area", "average precision here"), rows)


def dices_table(comparison: Comparison) -> NumberTable:
    """Dice for thresholds from 0.1 to 0.4: the paper's, and the comparison's, lowest to highest."""
    rows = []
    for printed in DICES:
        at = replace(printed, paper=f"{printed.paper}, threshold {FIXED_THRESHOLD}", value=CURVE)
        rows += [_row(comparison, printed, _range), _row(comparison, at, _measure("dice_fixed"))]
    caption = f"Dice for thresholds from {LOW} to {HIGH}: printed in the paper, and here, pooled, lowest to highest."
    return _table(comparison, "dices", caption, ("printed Dice", "Dice here"), rows)


def orders(comparison: Comparison) -> list[str]:
    """The paper's ranking of its methods, and the ranking of the entries of the same names, by annotator."""
    known = [(printed, one) for printed in AREAS if (one := _entry(comparison, printed)) and printed.value != CURVE]
    if len(known) < 2:
        return []
    printed_order = " > ".join(f"{printed.paper} {printed.value}" for printed, _ in known)
    found = [f"Ranking in the paper: {printed_order}."]
    for name in comparison.evaluation.chance:
        methods = comparison.evaluation.methods
        values = {one.label: methods[one.label][name]["average_precision"].value or 0.0 for _, one in known}
        ranked = sorted(values, key=lambda label: -values[label])
        found.append(f"Here, against {name}: {' > '.join(f'{label} {values[label]:.3f}' for label in ranked)}.")
    found.append(
        "The rankings can be compared; the values cannot be subtracted, because they are of other slices and other "
        "outlines. The report has the intervals of the differences."
    )
    return found


def _entry(comparison: Comparison, printed: Printed) -> Entry | None:
    return next((one for one in comparison.shown() if one.settings.name == printed.entry), None)


def _table(comparison: Comparison, key: str, caption: str, columns: tuple[str, str], rows: list[Row]) -> NumberTable:
    printed, here = columns
    heads = (printed, "entry here", *(f"{here}, against {name}" for name in comparison.evaluation.chance))
    return NumberTable(key=key, caption=caption, columns=heads, blocks={"": rows}, numeric=False)


def _row(comparison: Comparison, printed: Printed, measure: Measure) -> Row:
    one = _entry(comparison, printed)
    entry = "not in this comparison" if one is None else shown_name(one)
    cells = [Cell(printed.value, printed.place), Cell(entry), *_cells(comparison, one, measure)]
    return Row(name=printed.paper, cells=cells, upper_bound=one is not None and is_upper_bound(one))


def _cells(comparison: Comparison, one: Entry | None, measure: Measure) -> list[Cell]:
    """A cell for each annotator."""
    return [Cell() if one is None else measure(comparison, one.label, name) for name in comparison.evaluation.chance]


def _measure(name: str) -> Measure:
    return lambda comparison, label, judge: estimate_cell(comparison.evaluation.methods[label][judge][name])


def _range(comparison: Comparison, label: str, annotator: str) -> Cell:
    counts = comparison.accumulators[label].annotators[annotator].whole.total
    found = dice(counts)[place_of(LOW, counts) : place_of(HIGH, counts) + 1]
    return Cell(f"{found.min():.3f} to {found.max():.3f}")
