"""Evaluates weights on a data set with masks: a comparison of the network with the grey opening and chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lesionsplit.comparison.examples import SEED, choose_evenly, choose_random, scores_of
from lesionsplit.comparison.result import Comparison
from lesionsplit.comparison.scoring import prepare_entries, score_entries
from lesionsplit.comparison.settings import ComparisonSettings, EntrySettings
from lesionsplit.data.table import Slice, Split, read_table
from lesionsplit.evaluation.result import Evaluation
from lesionsplit.evaluation.slices import SliceNumbers, worst
from lesionsplit.images import write_image
from lesionsplit.models.card import digest
from lesionsplit.models.open_engine import open_engine
from lesionsplit.report.evaluation import write_curves, write_numbers
from lesionsplit.report.examples import Shown, described_page, example_page
from lesionsplit.runtime import Runtime

NETWORK, BASELINE, IMAGE_BASELINE = "lesionsplit", "opening", "deviation"
"""Names of the network and of the untrained baselines, of lungs and of other images, in tables and files."""


def evaluate(
    weights: str | Path,
    data: str | Path,
    *,
    split: Split = "test",
    out: str | Path | None = None,
    resolution: int = 256,
    threshold: float | str | None = None,
    runtime: Runtime = Runtime(),
) -> Evaluation:
    """Score a network's heat maps against the masks of every annotator, beside the grey opening and chance.

    Args:
        weights: a weights file, or ``default`` for the weights in the package.
        data: a folder with ``slices.csv`` that has columns ``mask_<annotator>``.
        split: ``train``, ``val`` or ``test``.
        out: folder for metrics.json, metrics.csv, metrics.md, per_slice.csv, curves and pages of slices; None to write
            no files.
        resolution: pixels on the frame's longer side of the grid on which scores and masks are compared.
        threshold: instead of the stored one, as for `predict`.
        runtime: device, threads, engine and progress.

    Returns:
        Every number, with 95 % intervals.

    Raises:
        DataError, WeightsError, SettingsError: see their messages.
    """
    runtime.begin()
    network = EntrySettings(name=NETWORK, weights=str(weights), threshold=threshold)
    kind = open_engine(None if str(weights) == "default" else Path(weights), runtime.engine, runtime.device).card.kind
    baseline = BASELINE if kind.of_lungs else IMAGE_BASELINE
    config = ComparisonSettings(
        entry=(network, EntrySettings(name=baseline, untrained=baseline)),
        region=kind.region,
        reference=NETWORK,
        title="Evaluation",
        split=split,
        resolution=resolution,
    )
    whole = read_table(Path(data))
    config.check(whole)
    entries = prepare_entries(config, config.entry, whole, Path(), runtime)
    comparison = score_entries(config, entries, whole.split(split), runtime)
    comparison.evaluation.conventions["weights"] = digest(None if str(weights) == "default" else Path(weights))
    if out is not None:
        _write(Path(out), comparison, runtime)
    return comparison.evaluation


def _write(folder: Path, comparison: Comparison, runtime: Runtime) -> None:
    write_numbers(folder, comparison)
    rows = choose_evenly(comparison.table)
    write_image(folder / "examples.png", example_page(_shown(comparison, rows)))
    slices = comparison.accumulators[NETWORK].slices
    pages: dict[str, tuple[str, list[SliceNumbers]]] = {
        "worst": (
            f"worst first, by wrong fraction of {comparison.config.noun}",
            worst(slices, comparison.table.annotators[0], count=20, of_a_series=2),
        ),
        "random": (f"drawn at random, seed {SEED}", choose_random(slices)),
    }
    for name, (heading, numbers) in pages.items():
        shown = _shown(comparison, [one.row for one in numbers])
        write_image(folder / f"{name}.png", described_page(shown, numbers, heading))
    if not write_curves(folder, comparison):
        runtime.say("no curves: they need matplotlib (pip install 'lesionsplit[plots]'); all numbers are written")


def _shown(comparison: Comparison, rows: Sequence[Slice]) -> Shown:
    (network,) = (one for one in comparison.entries if one.label == NETWORK)
    return Shown(
        rows=rows,
        scores=scores_of(network, rows, comparison.table),
        annotators=comparison.table.annotators,
        threshold=network.threshold,
        noun=comparison.config.noun,
    )
