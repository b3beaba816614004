"""The result of a comparison: the counts and numbers of every method on the same slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from lesionsplit.comparison.settings import ComparisonSettings, EntrySettings
from lesionsplit.data.table import Table
from lesionsplit.evaluation.accumulators import MethodAccumulator, Scored
from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.evaluation.differences import Differences, paired_differences
from lesionsplit.evaluation.result import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a method; None where it does not apply or was not measured."""

    training_seconds: float | None = None
    """By the run's own clock, with `threads` threads."""

    slices_seen: int | None = None
    """In training, repeats included, of both labels."""

    parameters: int | None = None
    """Of the network that is kept after training."""

    slices_per_second: float | None = None
    """Heat maps made from slice files, reading and resampling included."""

    threads: int | None = None
    """Of training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a comparison, trained with one seed and ready to be scored."""

    label: str
    """Its key in evaluation and accumulators: the entry's name, with ``, seed 1`` for all seeds but the first."""

    settings: EntrySettings
    seed: int | None = None
    """None where the comparison trained nothing."""

    annotator: str | None = None
    """The annotator whose masks it was trained on: a supervised upper bound. None for image labels only."""

    supervision: str
    """In words: ``image labels only``, ``none: no training``, ``masks of annotator a ...``."""

    threshold: float | None
    """The score from which a pixel counts as lesion, set on normal slices; None where there are no normal slices."""

    threshold_from: str
    """In words: the slices on which the threshold was set."""

    neighbour_weight: float | None = None
    """Weight of the neighbouring slices' scores; None for methods without a network."""

    cost: Cost = Cost()
    heat_maps: Callable[[Table], Iterator[Scored]]
    """Computes the scores of slices, 0 to 1, each on its own frame or on the evaluation's grid.

    `evaluation.protocol.to_grid` brings both onto the grid.
    """

    @property
    def first(self) -> bool:
        """Whether it is its entry's first seed, the one in tables and figures."""
        return self.label == self.settings.name


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything from which a report is made."""

    config: ComparisonSettings
    table: Table
    """The slices of the split, with masks, in order."""

    evaluation: Evaluation
    """By label."""

    accumulators: Mapping[str, MethodAccumulator]
    """By label: the counts behind the numbers, for curves."""

    entries: tuple[Entry, ...]
    """In the comparison's order; the seeds of an entry are together, the first one first."""

    @cached_property
    def differences(self) -> dict[str, Differences]:
        """By label, without the reference: the method less the reference, over the same resamples of series."""
        return paired_differences(self.accumulators, self.reference)

    @property
    def classifier_auroc(self) -> dict[str, Estimate]:
        """By label: AUROC of methods that give the probability that a slice has a lesion."""
        with_presence = [label for label, one in self.accumulators.items() if one.scores_slices]
        return {label: self.evaluation.slices[label]["auroc"] for label in with_presence}

    @property
    def reference(self) -> str:
        """The label with which all other entries are compared."""
        return self.config.reference

    def shown(self, figure: str | None = None) -> tuple[Entry, ...]:
        """Each entry's first seed; of one figure, ``methods`` or ``ablations``, and the reference, or of both."""
        return tuple(
            one
            for one in self.entries
            if one.first and (figure is None or one.settings.figure == figure or one.label == self.reference)
        )

    def seeds_of(self, name: str) -> tuple[Entry, ...]:
        """All seeds of an entry."""
        return tuple(one for one in self.entries if one.settings.name == name)
