"""An evaluation as JSON, CSV and text."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from lesionsplit.data.table import Table
from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.evaluation.protocol import Evaluation
from lesionsplit.evaluation.slices import SliceNumbers

COLUMNS = ("method", "annotator", "measure", "value", "low", "high")
MISSING = "-"

UNSHOWN = ("dice_stored_per_image", "dice_best_in_lung", "dice_stored_in_lung")
"""In `metrics.json` and `metrics.csv` only: the table is wide enough."""


def to_json(evaluation: Evaluation) -> str:
    """Everything, nested."""
    return json.dumps(msgspec.to_builtins(evaluation), indent=2) + "\n"


def to_csv(evaluation: Evaluation) -> str:
    """One row a number: method, annotator, measure, value and its 95 % interval."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for method, annotator, measures in _entries(evaluation):
        for measure, estimate in measures.items():
            numbers = (estimate.value, estimate.low, estimate.high)
            writer.writerow((method, annotator, measure, *("" if n is None else f"{n:.6f}" for n in numbers)))
    return text.getvalue()


def to_markdown(evaluation: Evaluation) -> str:
    """The tables that people read: against annotators, on slices, and what a score means."""
    facts = evaluation.conventions
    lines = [
        f"{facts['data']}, split {facts['split']}: {facts['lesion slices']} lesion slices of "
        f"{facts['lesion series']} series, {facts['normal slices']} normal slices of {facts['normal series']}; "
        f"{facts['resolution']} pixels on the frame's longer side; [95 % interval over series].",
        *(f"{name.capitalize()}: {fact}." for name, fact in facts.items() if name.startswith("supervision of ")),
        "",
        "| | against | AP, whole image | AP, in lung | AP, per image | best Dice (oracle) | Dice, stored threshold | "
        "Dice at 0.4 | lowest Dice from 0.1 to 0.6 / best |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for annotator, chance in evaluation.chance.items():
        lines.append(
            f"| chance (prevalence) | {annotator} | "
            + " | ".join(map(show, _fields(chance).values()))
            + " |"
            + f" {MISSING} |" * 4
        )
    for method, annotators in evaluation.methods.items():
        for annotator, one in annotators.items():
            numbers = [estimate for name, estimate in _fields(one).items() if name not in UNSHOWN]
            lines.append(f"| {method} | {annotator} | " + " | ".join(map(show, numbers)) + " |")
    for annotator, others in evaluation.annotators.items():
        for other, agreement in others.items():
            lines.append(
                f"| annotator {other} | {annotator} |"
                + f" {MISSING} |" * 3
                + f" {show(agreement.dice)} (precision {show(agreement.precision, interval=False)}, "
                f"recall {show(agreement.recall, interval=False)}) |" + f" {MISSING} |" * 3
            )
    for pair, methods in evaluation.agreed.items():
        for method, agreed in methods.items():
            name = "chance (prevalence)" if method == "chance" else method
            lines.append(f"| {name} | {pair} | {show(agreed.average_precision)} |" + f" {MISSING} |" * 6)
    lines += [
        "",
        "Of the pixels in the lungs of lesion slices whose score lies in each tenth of the scale, the share that is "
        "outlined; a score that means that chance has about the middle of each.",
        "",
        "| | against | " + " | ".join(f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}" for tenth in range(10)) + " |",
        "|---|---|" + "---|" * 10,
    ]
    for method, by_annotator in evaluation.reliability.items():
        for annotator, known_of in by_annotator.items():
            shares = (MISSING if share is None else f"{share:.2f}" for share in known_of.outlined)
            lines.append(f"| {method} | {annotator} | " + " | ".join(shares) + " |")
    lines += [
        "",
        "| | lung fired in normal slices | mean score, normal | mean score, lesion | specificity | sensitivity | "
        "AUROC of slices |",
        "|---|---|---|---|---|---|---|",
    ]
    for method, on in evaluation.slices.items():
        lines.append(f"| {method} | " + " | ".join(map(show, _fields(on).values())) + " |")
    if evaluation.healthy is not None:
        known = evaluation.healthy
        lines += [
            "",
            "Against what lesion slices truly look like healthy, mean |difference| in lung (1 = full scale): the slice "
            f"{show(known.error_of_slice, digits=4)}, its healthy version {show(known.error_of_healthy, digits=4)}; "
            f"closer in {show(known.closer)} of the slices.",
        ]
    return "\n".join(lines) + "\n"


def slices_to_csv(slices: Sequence[SliceNumbers], table: Table) -> str:
    """One row a slice: what is said of it, and against each annotator at the stored threshold.

    Args:
        slices: one method's, of the table.
        table: says where images are relative to, and who outlined; nobody did in normal slices.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = {
        "ap": "average_precision",
        "dice": "dice",
        "missed": "missed",
        "false": "false",
        "wrong_of_lung": "wrong",
    }
    columns = [f"{measure}_{name}" for name in table.annotators for measure in measures]
    writer.writerow(("image", "series", "label", "slice_score", "share_of_lung", *columns))
    for one in slices:
        found = [one.against.get(name) for name in table.annotators]
        numbers = [
            getattr(against, attribute) if against else math.nan for against in found for attribute in measures.values()
        ]
        shown = ("" if math.isnan(n) else f"{n:.6f}" for n in (one.score, one.fired, *numbers))
        image = Path(os.path.relpath(one.row.image, table.root)).as_posix()
        writer.writerow((image, one.row.series, one.row.label, *shown))
    return text.getvalue()


def show(estimate: Estimate, *, interval: bool = True, digits: int = 3) -> str:
    """``0.531 [0.48, 0.57]``; a dash where there is no number."""
    if estimate.value is None:
        return MISSING
    if estimate.low is None or not interval:
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits - 1}f}, {estimate.high:.{digits - 1}f}]"


def _entries(evaluation: Evaluation) -> list[tuple[str, str, dict[str, Estimate]]]:
    entries = [("chance", name, _fields(chance)) for name, chance in evaluation.chance.items()]
    for method, annotators in evaluation.methods.items():
        entries += [(method, name, _fields(numbers)) for name, numbers in annotators.items()]
    for name, others in evaluation.annotators.items():
        entries += [(f"annotator {other}", name, _fields(agreement)) for other, agreement in others.items()]
    for pair, agreed in evaluation.agreed.items():
        entries += [(method, pair, _fields(numbers)) for method, numbers in agreed.items()]
    entries += [(method, "", _fields(numbers)) for method, numbers in evaluation.slices.items()]
    if evaluation.healthy is not None:
        entries.append(("healthy version", "", _fields(evaluation.healthy)))
    return entries


def _fields(numbers: msgspec.Struct) -> dict[str, Estimate]:
    names = zip(numbers.__struct_encode_fields__, numbers.__struct_fields__, strict=True)
    return {name: getattr(numbers, attribute) for name, attribute in names}
