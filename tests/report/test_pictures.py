"""The picture of a result: the slices with most lesion, outlined, beside their healthy versions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np

from lesionsplit.measurements.measure import measure
from lesionsplit.report.page.slices import OUTLINE
from lesionsplit.report.pictures import GAP, LINE, TILE, key_picture
from lesionsplit.volumes.decomposed import TOP, DecomposedVolume
from lesionsplit.volumes.volume import Source, Volume


def found(make: ModuleType, *, lesion: bool = True) -> DecomposedVolume:
    chest = make.chest(lesion=lesion)
    volume = Volume(
        array=chest.hu,
        affine=make.affine_of(),
        intensity="hu",
        source=Source(kind="nifti", path=Path("ct"), name="Secret^Name", instances=()),
    )
    healthy = np.where(chest.lesion, make.LUNG, chest.hu).astype(np.int16)
    return DecomposedVolume(
        volume=volume,
        score=(chest.lesion * TOP).astype(np.uint16),
        lesion=chest.lesion.astype(np.uint8),
        lungs=chest.lungs,
        healthy=healthy,
        threshold=0.5,
        lungs_from="drawn",
    )


def test_three_slices_with_lesion_stand_over_their_healthy_versions(make: ModuleType) -> None:
    findings = found(make)
    picture = key_picture(findings, measure(findings))
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (3 * (TILE + GAP) + 3 * GAP, 3)
    outlined = (picture == OUTLINE).all(axis=2)
    rows = np.flatnonzero(outlined.any(axis=1))
    for column in range(3):  # each of three tiles of the upper row has an outline
        left = 2 * GAP + column * (TILE + GAP)
        assert outlined[:, left : left + TILE].any()
    lower = picture[rows.max() + LINE :]
    assert not (lower == OUTLINE).all(axis=2).any()
    coloured = (lower.max(axis=2).astype(int) - lower.min(axis=2) > 8).any()
    assert not coloured  # the healthy versions have no heat map


def test_without_lesion_nothing_is_outlined_and_it_says_so(make: ModuleType) -> None:
    findings = found(make, lesion=False)
    measures = measure(findings)
    picture = key_picture(findings, measures)
    assert not (picture == OUTLINE).all(axis=2).any()
    assert picture.shape[0] > 2 * TILE * 0.5


def test_many_notes_leave_room_for_the_slices(make: ModuleType) -> None:
    findings = found(make)
    measures = measure(findings)
    few = key_picture(findings, measures)
    measures.notes[:] = [f"note {number} " + "word " * 40 for number in range(50)]
    many = key_picture(findings, measures)
    assert LINE <= many.shape[0] - few.shape[0] <= 12 * LINE


def test_the_name_of_the_scan_changes_no_pixel(make: ModuleType) -> None:
    findings = found(make)
    other = replace(findings, volume=replace(findings.volume, source=replace(findings.volume.source, name="other")))
    assert np.array_equal(key_picture(findings, measure(findings)), key_picture(other, measure(other)))
