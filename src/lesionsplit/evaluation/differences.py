"""What is better than what: paired differences over the same resamples of series, and the spread over seeds.

Methods whose intervals overlap may still differ in every series, so the difference itself is resampled: with M_i
what is measured of a method on draw i of the series, and M on all of them, the difference is M(method) - M(reference)
and its interval the 2.5th to 97.5th percentile of M_i(method) - M_i(reference). Draws are those of `Bootstrap`, the
same as behind a single method's intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from lesionsplit.errors import DataError, SettingsError
from lesionsplit.evaluation.bootstrap import CHUNK, Bootstrap, Estimate
from lesionsplit.evaluation.counts import PixelCounts, Values, average_precision, best_dice, binary_dice, prevalence
from lesionsplit.evaluation.ranking import auroc
from lesionsplit.evaluation.tally import MISSING, AnnotatorTally, MethodTally


class AgainstDifferences(msgspec.Struct, frozen=True, kw_only=True):
    """A method less the reference, against one annotator; of what two agree on only the first is known."""

    average_precision: Estimate = MISSING
    """Pooled, whole image."""

    average_precision_in_lung: Estimate = MISSING
    """Pooled, pixels inside the lungs."""

    average_precision_per_image: Estimate = MISSING
    """Mean over slices that the annotator outlined something in."""

    dice_best: Estimate = MISSING
    """Pooled, each at the threshold that is best for itself, in each resample anew."""

    dice_stored: Estimate = MISSING
    """Pooled, each at its own stored threshold."""


class SlicesDifferences(msgspec.Struct, frozen=True, kw_only=True):
    """A method less the reference, on whole slices."""

    share_of_lung_fired: Estimate = MISSING
    """In normal slices, each at its own stored threshold; below 0, the method fires less."""

    auroc: Estimate = MISSING
    """Lesion against normal slices."""


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """A method less the reference."""

    against: dict[str, AgainstDifferences]
    """By annotator, and by pair of annotators (``a and b``) of what they agree on."""

    slices: SlicesDifferences


class AnnotatorGap(msgspec.Struct, frozen=True, kw_only=True):
    """One method against one annotator less the same method against another.

    No sign of a bias by itself: a score that never saw a mask has one too, since who outlines more, or more of what is
    plain to see, is easier to please. Compare with such a score's gap; `chance` is that of a score that knows nothing.
    """

    average_precision: Estimate = MISSING
    average_precision_in_lung: Estimate = MISSING
    average_precision_per_image: Estimate = MISSING
    dice_best: Estimate = MISSING

    chance: Estimate = MISSING
    """Of the pooled average precision, whole image: the difference of the shares of lesion pixels."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The same number of the same method, trained with several seeds; what is not known is left out."""

    n: int
    """How many are known."""

    mean: float | None
    min: float | None
    max: float | None

    sd: float | None
    """Sample standard deviation; none of a single one."""


def paired_differences(tallies: Mapping[str, MethodTally], reference: str) -> dict[str, Differences]:
    """Every other method less the reference, by method.

    Args:
        tallies: by method, of the same slices, judged by the same annotators.
        reference: the method to compare with, one of them.

    Raises:
        SettingsError: there is no such method.
        DataError: a method was tallied over other slices or annotators than the reference.
    """
    if reference not in tallies:
        raise SettingsError(f"reference {reference!r}: no such method; allowed: {', '.join(tallies)}")
    for name, tally in tallies.items():
        _check_alike(name, tally, reference, tallies[reference])
    zero = _measure(tallies[reference])
    return {name: _less(_measure(tally), zero) for name, tally in tallies.items() if name != reference}


def annotator_gaps(tally: MethodTally, reference: MethodTally | None = None) -> dict[str, AnnotatorGap]:
    """Is a method closer to one annotator? By ``b - a``: against b less against a, of every two in the table's order.

    Args:
        tally: of one method.
        reference: another method's, of the same slices; its own gap is then subtracted, resample by resample. What
            the annotators' outlines do to any score, as that b outlines more, largely cancels.

    Raises:
        DataError: the reference was tallied over other slices or annotators.
    """
    return _gaps(tally, reference, [(second, first) for first, second in combinations(tally.annotators, 2)])


def cross_annotator_drop(tally: MethodTally, own: str, reference: MethodTally | None = None) -> dict[str, AnnotatorGap]:
    """What a network loses when another judges it: by ``a - b``, against its own annotator a less against each b.

    Args:
        tally: of a network that was supervised by ``own``.
        own: the annotator whose masks it was trained on.
        reference: as for `annotator_gaps`; best a method that never saw either's masks.

    Raises:
        SettingsError: there is no such annotator.
        DataError: the reference was tallied over other slices or annotators.
    """
    if own not in tally.annotators:
        raise SettingsError(f"annotator {own!r}: outlined nothing here; allowed: {', '.join(tally.annotators)}")
    return _gaps(tally, reference, [(own, other) for other in tally.annotators if other != own])


def spread(values: Iterable[float | None]) -> Spread:
    """Mean, extremes and standard deviation over seeds of one number; what is None or not finite is left out."""
    known = np.array([value for value in values if value is not None and np.isfinite(value)], dtype=np.float64)
    if not len(known):
        return Spread(n=0, mean=None, min=None, max=None, sd=None)
    return Spread(
        n=len(known),
        mean=float(known.mean()),
        min=float(known.min()),
        max=float(known.max()),
        sd=float(known.std(ddof=1)) if len(known) > 1 else None,
    )


class _Number(NamedTuple):
    """A value and the same measured in each resample, (resamples,); NaN where it cannot be measured."""

    value: float
    resampled: Values

    def less(self, other: _Number) -> _Number:
        return _Number(self.value - other.value, self.resampled - other.resampled)

    def estimate(self) -> Estimate:
        return Estimate.of(self.value, self.resampled)


_Numbers = dict[str, _Number]
"""By field of the struct that they end up in; what is missing is not there."""


class _Measured(NamedTuple):
    """All that is compared of one method."""

    against: dict[str, _Numbers]
    slices: _Numbers


S = TypeVar("S", AgainstDifferences, SlicesDifferences)


def _less(method: _Measured, reference: _Measured) -> Differences:
    return Differences(
        against={
            name: _difference(AgainstDifferences, numbers, reference.against[name])
            for name, numbers in method.against.items()
        },
        slices=_difference(SlicesDifferences, method.slices, reference.slices),
    )


def _difference(kind: type[S], one: _Numbers, other: _Numbers) -> S:
    return kind(**{name: one[name].less(other[name]).estimate() for name in one if name in other})


def _measure(tally: MethodTally) -> _Measured:
    bootstrap = _of_lesions(tally)
    against = {}
    for name, counted in tally.annotators.items():
        against[name] = _against(bootstrap, counted)
        if counted.found.by_series:
            (against[name]["dice_stored"],) = _pooled(bootstrap, counted.found, binary_dice)
    for pair, pixels in tally.agreed.items():
        (agreed,) = _pooled(bootstrap, pixels, average_precision)
        against[pair] = {"average_precision": agreed}
    return _Measured(against, _on_slices(tally))


def _of_lesions(tally: MethodTally) -> Bootstrap:
    """The draws behind every number against annotators, who all outlined the same slices."""
    return Bootstrap([one.row.series for one in tally.slices if one.row.label == "lesion"])


def _against(bootstrap: Bootstrap, counted: AnnotatorTally) -> _Numbers:
    whole, best = _pooled(bootstrap, counted.whole, average_precision, best_dice)
    (in_lung,) = _pooled(bootstrap, counted.in_lung, average_precision)
    return {
        "average_precision": whole,
        "average_precision_in_lung": in_lung,
        "average_precision_per_image": _mean(bootstrap, counted.precisions, counted.outlined),
        "dice_best": best,
    }


def _pooled(bootstrap: Bootstrap, pixels: PixelCounts, *measures: Callable[[Values], Values]) -> list[_Number]:
    """Measures of counted pixels, as `Bootstrap.pooled` takes them; the counts of a draw are summed once for all."""
    nothing = np.zeros_like(next(iter(pixels.by_series.values())))
    counts = np.stack([pixels.by_series.get(name, nothing) for name in bootstrap.names])
    filled = np.asarray(counts.any(axis=(0, 1)))  # a bin without a pixel changes no measure here; a mask has two with
    filled[[0, -1]] = True  # which are no sign at all, and the mask
    counts = counts[..., filled]
    resampled: list[list[Values]] = [[np.zeros(0)] for _ in measures]
    for at in range(0, len(bootstrap.times), CHUNK):
        drawn = np.tensordot(bootstrap.times[at : at + CHUNK], counts, axes=1)
        for measure, values in zip(measures, resampled, strict=True):
            values.append(measure(drawn))
    return [
        _Number(float(measure(pixels.total)), np.concatenate(values))
        for measure, values in zip(measures, resampled, strict=True)
    ]


def _mean(bootstrap: Bootstrap, values: Sequence[float], series: Sequence[str]) -> _Number:
    """Mean over slices, as `Bootstrap.mean` takes it; NaN of none."""
    weights, numbers = bootstrap.weights(series), np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        resampled = weights @ numbers / weights.sum(axis=1)
    return _Number(float(numbers.mean()) if len(numbers) else float("nan"), resampled)


def _on_slices(tally: MethodTally) -> _Numbers:
    series = [one.row.series for one in tally.slices]
    bootstrap = Bootstrap(series)
    lesion, scores = [one.row.label == "lesion" for one in tally.slices], [one.score for one in tally.slices]
    numbers = {"auroc": _Number(float(auroc(scores, lesion)), auroc(scores, lesion, bootstrap.weights(series)))}
    if tally.threshold is not None:
        normal = [one for one in tally.slices if one.row.label == "normal"]
        shares = [one.fired for one in normal]
        numbers["share_of_lung_fired"] = _mean(bootstrap, shares, [one.row.series for one in normal])
    return numbers


def _gaps(
    tally: MethodTally, reference: MethodTally | None, pairs: Iterable[tuple[str, str]]
) -> dict[str, AnnotatorGap]:
    if reference is not None:
        _check_alike("the method", tally, "the method it is compared with", reference)
    numbers = _by_annotator(tally)
    zeros = None if reference is None else _by_annotator(reference)
    gaps = {}
    for one, other in pairs:
        gap = {name: number.less(numbers[other][name]) for name, number in numbers[one].items()}
        if zeros is not None:
            gap = {name: number.less(zeros[one][name].less(zeros[other][name])) for name, number in gap.items()}
        gaps[f"{one} - {other}"] = AnnotatorGap(**{name: number.estimate() for name, number in gap.items()})
    return gaps


def _by_annotator(tally: MethodTally) -> dict[str, _Numbers]:
    bootstrap = _of_lesions(tally)
    numbers = {}
    for name, counted in tally.annotators.items():
        (chance,) = _pooled(bootstrap, counted.whole, prevalence)
        numbers[name] = {**_against(bootstrap, counted), "chance": chance}
    return numbers


def _check_alike(name: str, tally: MethodTally, other: str, reference: MethodTally) -> None:
    """Pairs are pairs only over the same slices and annotators, of which the order says which belong together."""
    if [one.row for one in tally.slices] != [one.row for one in reference.slices]:
        raise DataError(f"{name}: was scored on other slices than {other}; score both on the same table")
    if list(tally.annotators) != list(reference.annotators) or list(tally.agreed) != list(reference.agreed):
        raise DataError(
            f"{name}: was judged by {', '.join(tally.annotators) or 'nobody'}, {other} by "
            f"{', '.join(reference.annotators) or 'nobody'}; judge both by the same annotators"
        )
