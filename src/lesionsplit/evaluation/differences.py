"""Paired differences between methods over the same resamples of series.

Methods whose intervals overlap may still differ in every series. Therefore the difference itself is resampled: with
M_i a measure on resample i of the series, and M the same measure on all series, the difference is
M(method) - M(reference) and its interval the 2.5th to 97.5th percentile of M_i(method) - M_i(reference). The
resamples are those of `Bootstrap`, the same as for the interval of a single method.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from lesionsplit.errors import DataError, SettingsError
from lesionsplit.evaluation.accumulators import MethodAccumulator
from lesionsplit.evaluation.bootstrap import Estimates, Resampled, estimates

AGAINST: Final = (
    *("average_precision", "average_precision_in_lung", "average_precision_per_image"),
    *("dice_oracle", "dice_stored"),
)
"""Measures against an annotator, see `result.AGAINST`; each method at its own threshold, best or stored."""

ON_SLICES: Final = ("false_positive_fraction", "auroc")
"""Measures on whole slices, see `result.ON_SLICES`."""


class Differences(NamedTuple):
    """A method less the reference; what one of the two lacks is missing."""

    against: dict[str, Estimates]
    """By annotator, and by pair of annotators (``a and b``) on the pixels on which they agree: `AGAINST`."""

    slices: Estimates
    """`ON_SLICES`."""


def paired_differences(accumulators: Mapping[str, MethodAccumulator], reference: str) -> dict[str, Differences]:
    """Every other method less the reference, by method.

    Args:
        accumulators: by method, of the same slices and annotators.
        reference: the method to compare with, one of them.

    Raises:
        SettingsError: there is no such method.
        DataError: a method was scored on other slices or annotators than the reference.
    """
    if reference not in accumulators:
        raise SettingsError(f"reference {reference!r}: no such method; allowed: {', '.join(accumulators)}")
    for name, accumulator in accumulators.items():
        _check_alike(name, accumulator, reference, accumulators[reference])
    zero = accumulators[reference].measured()
    found = {name: one.measured() for name, one in accumulators.items() if name != reference}
    return {
        name: Differences(
            against={
                judge: estimates(AGAINST, _less(numbers, zero.against[judge])) for judge, numbers in one.against.items()
            },
            slices=estimates(ON_SLICES, _less(one.slices, zero.slices)),
        )
        for name, one in found.items()
    }


def cross_annotator_drop(
    accumulator: MethodAccumulator, own: str, reference: MethodAccumulator | None = None
) -> dict[str, Estimates]:
    """How much a supervised network loses when it is evaluated on another annotator's masks.

    A loss alone shows no bias: a method that never saw a mask has one too, because an annotator who outlines more, or
    more of what is plainly visible, is easier to match. Compare with the loss of such a method; ``chance`` is the loss
    of a random score.

    Args:
        accumulator: of a network that was supervised by ``own``.
        own: the annotator whose masks it was trained on.
        reference: another method's, of the same slices; best a method that never saw a mask. Its loss is subtracted,
            resample by resample, so that effects of the outlines on any method, such as that b outlines more, largely
            cancel.

    Returns:
        By other annotator, every measure against its own annotator less the same against that one.

    Raises:
        SettingsError: there is no such annotator.
        DataError: the reference was scored on other slices or annotators.
    """
    if own not in accumulator.annotators:
        raise SettingsError(f"annotator {own!r}: outlined nothing here; allowed: {', '.join(accumulator.annotators)}")
    numbers, zeros = accumulator.measured().against, None
    if reference is not None:
        _check_alike("the method", accumulator, "the method it is compared with", reference)
        zeros = reference.measured().against
    gaps = {}
    for other in accumulator.annotators:
        if other != own:
            gap = _less(numbers[own], numbers[other])
            gap = gap if zeros is None else _less(gap, _less(zeros[own], zeros[other]))
            gaps[other] = estimates(gap, gap)
    return gaps


def _less(one: Mapping[str, Resampled], other: Mapping[str, Resampled]) -> dict[str, Resampled]:
    return {name: one[name].less(other[name]) for name in one if name in other}


def _check_alike(name: str, accumulator: MethodAccumulator, other: str, reference: MethodAccumulator) -> None:
    """Differences are paired only over the same slices and annotators in the same order."""
    if [one.row for one in accumulator.slices] != [one.row for one in reference.slices]:
        raise DataError(f"{name}: was scored on other slices than {other}; score both on the same table")
    if list(accumulator.annotators) != list(reference.annotators) or list(accumulator.agreed) != list(reference.agreed):
        raise DataError(
            f"{name}: was scored against {', '.join(accumulator.annotators) or 'nobody'}, {other} against "
            f"{', '.join(reference.annotators) or 'nobody'}; score both against the same annotators"
        )
