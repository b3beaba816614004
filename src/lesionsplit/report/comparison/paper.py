"""What the paper prints, with the place of each number, beside what this study measured."""

from __future__ import annotations

from dataclasses import dataclass

from lesionsplit.evaluation.counts import dice, place_of
from lesionsplit.evaluation.tally import FIXED_THRESHOLD
from lesionsplit.report.comparison.cells import Block, Cell, NumberTable, Row, estimate_cell
from lesionsplit.report.comparison.names import is_upper_bound, shown_name
from lesionsplit.report.tables import MISSING
from lesionsplit.study.comparison import Comparison, Contestant

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """One of the paper's methods."""

    paper: str
    value: str
    place: str
    entry: str
    """The name by which a study's entry is taken for it."""


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
    "The paper's areas are of Figure 2, by its caption of the COVID-19 Image Data Collection: 493 slices with lesion "
    "of 20 cases, whose outlines, as the paper says, are not that accurate around the boundary. Its Dice and its "
    "ablations (Figures 3 and 4) are of 128 slices with lesion of COVID-cell, none of them in its training set.",
    "The masks of those 128 slices are not in what the authors released: their code evaluates on a folder that is not "
    "there, and the release's training and evaluation slices with lesion are the same 2142 images. So neither the "
    "areas nor the Dice can be measured again from it. Nor are the authors' weights in their repository.",
    "The release holds several sets of masks of the same slices, which differ from each other, and does not say where "
    "they are from. A number against one of them is no number against another.",
    "The paper trains with 2007 normal and 870 lesion slices at 256 × 256, batches of 8; its text states neither how "
    "many steps, nor how many seeds, nor an interval. The epoch that the authors' code evaluates is written into it.",
    "The paper's area is that under the precision-recall curve, in the authors' code by the trapezoid rule. Here it "
    "is average precision, the sum of precision times the step in recall. Of one map without training, on the "
    "released slices, the trapezoid rule gave 0.008 to 0.012 more.",
    "The paper scores the output of its lesion decoder, from −1 to 1 brought to 0 to 1. The authors' code scores "
    "|x − G1| in 8 bit, and its two decoders share all weights but the last convolution's.",
    "The authors' repository holds neither BL, VA-GAN and the CAMs nor the ablations: how they were set is not known "
    "beyond the paper's words (a ResNet-18 for the CAMs).",
)


def areas_table(comparison: Comparison) -> NumberTable:
    """Areas under curves: the paper's, and the average precision of this study's entry of the name."""
    annotators = list(comparison.evaluation.chance)
    rows = []
    for printed in AREAS:
        one = _entry(comparison, printed)
        numbers = [
            Cell() if one is None else estimate_cell(comparison.evaluation.methods[one.label][name].average_precision)
            for name in annotators
        ]
        rows.append(_row(printed, one, numbers))
    named = {printed.entry for printed in AREAS}
    others = [
        Row(
            name="not in the paper",
            cells=(
                *(Cell(), Cell(shown_name(one))),
                *(
                    estimate_cell(comparison.evaluation.methods[one.label][name].average_precision)
                    for name in annotators
                ),
            ),
            upper_bound=is_upper_bound(one),
        )
        for one in comparison.shown()
        if one.entry.name not in named
    ]
    blocks = (Block(heading="", rows=(*rows, *others)),)
    columns = ("printed area", "entry here", *(f"average precision here, against {name}" for name in annotators))
    caption = (
        "Area under the precision-recall curve: what the paper prints, and what was measured here on other slices."
    )
    return NumberTable(key="areas", caption=caption, columns=columns, blocks=blocks, numeric=False)


def dices_table(comparison: Comparison) -> NumberTable:
    """Dice for thresholds from 0.1 to 0.4: the paper's, and this study's, lowest to highest."""
    annotators = list(comparison.evaluation.chance)
    rows = []
    for printed in DICES:
        one = _entry(comparison, printed)
        rows.append(_row(printed, one, [_range(comparison, one, name) for name in annotators]))
        fixed = [
            Cell() if one is None else estimate_cell(comparison.evaluation.methods[one.label][name].dice_fixed)
            for name in annotators
        ]
        at = Printed(
            paper=f"{printed.paper}, threshold {FIXED_THRESHOLD}", value=CURVE, place=FIGURE_3, entry=printed.entry
        )
        rows.append(_row(at, one, fixed))
    columns = ("printed Dice", "entry here", *(f"Dice here, against {name}" for name in annotators))
    caption = (
        f"Dice for thresholds from {LOW} to {HIGH}: what the paper prints; here, pooled, the lowest to the highest."
    )
    return NumberTable(
        key="dices", caption=caption, columns=columns, blocks=(Block(heading="", rows=tuple(rows)),), numeric=False
    )


def orders(comparison: Comparison) -> list[str]:
    """How the paper ranks its methods, and how the entries of their names rank here, by annotator."""
    known = [(printed, one) for printed in AREAS if (one := _entry(comparison, printed)) and printed.value != CURVE]
    if len(known) < 2:
        return []
    printed_order = " > ".join(f"{printed.paper} {printed.value}" for printed, _ in known)
    found = [f"Order printed: {printed_order}."]
    for name in comparison.evaluation.chance:
        values = {
            one.label: comparison.evaluation.methods[one.label][name].average_precision.value or 0.0 for _, one in known
        }
        ranked = sorted(values, key=lambda label: -values[label])
        found.append(f"Here, against {name}: {' > '.join(f'{label} {values[label]:.3f}' for label in ranked)}.")
    found.append(
        "The order within each line can be set beside the other; the values cannot be subtracted, for they are of "
        "other slices and other outlines. Which of the differences here are more than chance is in the report."
    )
    return found


def _entry(comparison: Comparison, printed: Printed) -> Contestant | None:
    return next((one for one in comparison.shown() if one.entry.name == printed.entry), None)


def _row(printed: Printed, one: Contestant | None, numbers: list[Cell]) -> Row:
    entry = "not in this study" if one is None else shown_name(one)
    cells = (Cell(printed.value, printed.place), Cell(entry), *numbers)
    return Row(name=printed.paper, cells=cells, upper_bound=one is not None and is_upper_bound(one))


def _range(comparison: Comparison, one: Contestant | None, annotator: str) -> Cell:
    if one is None:
        return Cell(MISSING)
    counts = comparison.tallies[one.label].annotators[annotator].whole.total
    found = dice(counts)[place_of(LOW, counts) : place_of(HIGH, counts) + 1]
    return Cell(f"{found.min():.3f} to {found.max():.3f}")
