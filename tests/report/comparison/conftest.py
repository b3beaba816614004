"""A comparison on the phantom: fake heat maps through the real evaluation, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lesionsplit.comparison.examples import Examples, examples_of
from lesionsplit.comparison.result import Comparison, Cost, Entry
from lesionsplit.comparison.settings import ComparisonSettings, EntrySettings, SharedSettings
from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import Slice, Table
from lesionsplit.evaluation import bootstrap
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.baselines import UNTRAINED
from lesionsplit.evaluation.protocol import evaluate, untrained_scores

RESOLUTION = 64
THRESHOLD = 0.2


def fake(label: str) -> Callable[[Table], Iterator[Scored]]:
    """Heat maps that depend on the label and the slice only: grey above the lung's median, and noise."""
    if label in UNTRAINED:
        return lambda table: untrained_scores(map(read_slice, table), UNTRAINED[label], RESOLUTION)

    def run(table: Table) -> Iterator[Scored]:
        for row in table:
            grey, lungs = read_slice(row)
            rng = np.random.default_rng([*label.encode(), *row.image.stem.encode()])
            above = grey / 255 - np.median(grey[lungs]) / 255
            noise = rng.normal(0, 0.05 + 0.02 * (len(label) % 5), grey.shape)
            score = np.where(lungs, np.clip(above + noise, 0, 1), 0).astype(np.float32)
            yield Scored(score, lungs, presence=float(score.max()) if label == "cam" else None)

    return run


def entry_settings(name: str, **more: Any) -> EntrySettings:
    return EntrySettings(name=name, **(more if "untrained" in more else {"config": "small", **more}))


ENTRIES = (
    entry_settings("decomposition", note="A remark."),
    entry_settings("cam"),
    entry_settings("opening", untrained="opening"),
    entry_settings("supervised-a"),
    entry_settings("supervised-b"),
    entry_settings("no-critic", figure="ablations"),
)
SECOND_SEED = "decomposition, seed 1"


def entry(one: EntrySettings, label: str | None = None) -> Entry:
    trained = one.untrained is None
    annotator = one.name.removeprefix("supervised-") if one.name.startswith("supervised-") else None
    seed = 1 if label == SECOND_SEED else 0
    return Entry(
        label=label or one.name,
        settings=one,
        seed=seed if trained else None,
        annotator=annotator,
        supervision=f"masks of annotator {annotator}" if annotator else "image labels only",
        threshold=THRESHOLD,
        threshold_from="a guess",
        cost=Cost(training_seconds=1380.0, slices_seen=32000, parameters=123456, slices_per_second=10.0, threads=1)
        if trained
        else Cost(slices_per_second=20.0),
        heat_maps=fake(label or one.name),
    )


def compare(
    table: Table,
    entries: tuple[EntrySettings, ...] = ENTRIES,
    *,
    reference: str = "decomposition",
    seeds: bool = True,
    threshold: float | None = THRESHOLD,
    config: dict[str, Any] | None = None,
) -> Comparison:
    """Entries compared on a table; the reference with a second seed."""
    shared = SharedSettings(placement={"rows": 32, "columns": 48, "frame": 56}, training={"steps": 8})
    settings = ComparisonSettings(
        **{
            "entry": entries,
            "reference": reference,
            "examples": 3,
            "shared": shared,
            **(config or {}),
        }  # type: ignore[arg-type]
    )
    made = []
    for one in entries:
        made.append(entry(one))
        if seeds and one.name == "decomposition":
            made.append(entry(one, SECOND_SEED))
    scores = {one.label: one.heat_maps(table) for one in made}
    with few_resamples():
        evaluation, accumulators = evaluate(table, scores, dict.fromkeys(scores, threshold), RESOLUTION)
    return Comparison(
        config=settings,
        table=table,
        evaluation=evaluation,
        accumulators=accumulators,
        entries=tuple(made),
    )


@contextmanager
def few_resamples() -> Iterator[None]:
    """Intervals are tested elsewhere; fewer resamples take less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "RESAMPLES", 20)
        yield


@pytest.fixture(autouse=True, scope="module")
def _few_resamples() -> Iterator[None]:
    with few_resamples():
        yield


def judged_by(table: Table, *annotators: str) -> Table:
    """The same slices with these annotators' masks only."""

    def fewer(row: Slice) -> Slice:
        return replace(row, masks={name: path for name, path in row.masks.items() if name in annotators})

    return replace(table, slices=tuple(map(fewer, table)))


@pytest.fixture(scope="session")
def slices(phantom: Table) -> Table:
    """Every third slice of the phantom, of either label, with the masks of a and b."""
    return judged_by(replace(phantom, slices=phantom.slices[::3]), "a", "b")


@pytest.fixture(scope="session")
def comparison(slices: Table) -> Comparison:
    return compare(slices)


@pytest.fixture(scope="session")
def examples(comparison: Comparison) -> Examples:
    return examples_of(comparison)


@pytest.fixture(scope="session")
def make_comparison() -> Callable[..., Comparison]:
    return compare


@pytest.fixture(scope="session")
def make_entry() -> Callable[..., EntrySettings]:
    return entry_settings


@pytest.fixture(scope="session")
def only_judged_by() -> Callable[..., Table]:
    return judged_by
