"""Patients into splits: each in one, at random, with and without lesion alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from lesionsplit.data.table import Split
from lesionsplit.errors import DataError

SPLITS: tuple[Split, ...] = get_args(Split)


def fixed_splits(patients: Mapping[str, str], given: Mapping[str, Split | None]) -> dict[str, Split]:
    """The splits of patients that are given for a scan of theirs.

    Args:
        patients: of each scan, by its name.
        given: the split of each scan, or None.

    Raises:
        DataError: a patient is in two splits.
    """
    fixed: dict[str, Split] = {}
    first: dict[str, str] = {}
    for scan, split in given.items():
        if split is None:
            continue
        patient = patients[scan]
        other = fixed.setdefault(patient, split)
        if other != split:
            raise DataError(
                f"{scan}: is in split {split!r}, and {first[patient]} of the same patient in {other!r}; scans of one "
                "patient are alike, keep them in one split"
            )
        first.setdefault(patient, scan)
    return fixed


def assign(
    ill: Mapping[str, bool], fixed: Mapping[str, Split], fractions: Sequence[float], seed: int
) -> dict[str, Split]:
    """The split of every patient.

    Of patients with and of those without lesion, the counts in train, val and test are those nearest to the
    fractions, given what is fixed; every split with a fraction above 0 gets one where there are enough.

    Args:
        ill: whether a patient has a scan with lesion.
        fixed: splits that are not changed.
        fractions: of train, val and test; their sum is 1.
        seed: of the order of patients.
    """
    result = {patient: fixed[patient] for patient in ill if patient in fixed}
    for group in (True, False):
        members = sorted(patient for patient, one in ill.items() if one == group)
        free = [patient for patient in members if patient not in fixed]
        np.random.default_rng((seed, group)).shuffle(free)
        have = [sum(result.get(patient) == split for patient in members) for split in SPLITS]
        for patient in free:  # to the split that lacks most; an empty one first
            target = [fraction * len(members) for fraction in fractions]
            lacks = [
                (fraction > 0 and not count and len(members) >= np.count_nonzero(fractions), wanted - count)
                for fraction, wanted, count in zip(fractions, target, have, strict=True)
            ]
            at = max((number for number in range(3) if fractions[number] > 0), key=lambda number: lacks[number])
            result[patient] = SPLITS[at]
            have[at] += 1
    return result
