"""What a comparison has found: every method's counts and numbers on the same slices, and how to see its heat maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lesionsplit.data.table import Table
from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.evaluation.differences import Differences
from lesionsplit.evaluation.protocol import Evaluation
from lesionsplit.evaluation.tally import MethodTally, Scored
from lesionsplit.study.settings import EntrySettings, StudySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a method takes; what does not apply is None."""

    training_seconds: float | None = None
    """On the run's own clock; of `threads` on `device`."""

    slices_seen: int | None = None
    """In training, repeats counted, both labels."""

    parameters: int | None = None
    """Of the network that is kept."""

    slices_per_second: float
    """Heat maps made, from a decoded slice on, reading and resampling included."""

    threads: int | None = None
    """Of training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One entry of a study, trained with one seed."""

    label: str
    """Its key in evaluation and tallies: the entry's name; with ``, seed 1`` for all seeds but the first."""

    entry: EntrySettings
    seed: int | None
    """None where nothing was trained here."""

    annotator: str | None
    """Whose masks it was trained on: a supervised upper bound. None: no mask was looked at."""

    supervision: str
    """In words: ``image labels only``, ``none: no training``, ``masks of annotator a ...``."""

    threshold: float | None
    """The score from which a pixel counts as lesion, set on normal slices; None where there is none."""

    judges: bool
    """Whether it says itself, of a slice as a whole, how sure it is that there is a lesion."""

    cost: Cost
    heat_maps: Callable[[Table], Iterator[Scored]]
    """Scores of slices, 0 to 1, made when asked for; each on its own frame, or on the evaluation's grid where
    nothing is known on a finer one: `evaluation.protocol.to_grid` brings both together."""

    @property
    def first(self) -> bool:
        """Whether it is its entry's first seed: the one that tables and figures show."""
        return self.label == self.entry.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that the report is made of."""

    study: StudySettings
    table: Table
    """The slices of the split, with masks, in order."""

    evaluation: Evaluation
    """By label."""

    tallies: Mapping[str, MethodTally]
    """By label: the counts behind the numbers, for curves."""

    contestants: tuple[Contestant, ...]
    """In the study's order, each entry's seeds together, the first first."""

    differences: Mapping[str, Differences]
    """By label, without the reference: method less reference, over the same resamples of series."""

    classifier_auroc: Mapping[str, Estimate]
    """By label, of methods that say of a slice as a whole whether it has a lesion: normal against lesion slices
    by what they say themselves."""

    @property
    def reference(self) -> str:
        """The label that all others are compared with."""
        return self.study.reference

    def shown(self, figure: str | None = None) -> tuple[Contestant, ...]:
        """Each entry's first seed; of one figure, ``methods`` or ``ablations``, with the reference, or of both."""
        return tuple(
            one
            for one in self.contestants
            if one.first and (figure is None or one.entry.figure == figure or one.label == self.reference)
        )

    def seeds_of(self, name: str) -> tuple[Contestant, ...]:
        """An entry's seeds."""
        return tuple(one for one in self.contestants if one.entry.name == name)
