"""Volumes taken apart: the same in every order of axes, and slice by slice what the predictor says."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lesionsplit.data.lung_slice import LungSlice
from lesionsplit.inference.hu_window import HU_WINDOW
from lesionsplit.inference.partial_volume import lower_at_edges, slices_blurred
from lesionsplit.inference.predictor import SeriesSlice, SlicePredictor
from lesionsplit.inference.volume import decompose
from lesionsplit.lungs.find import LungLabels
from lesionsplit.volumes.decomposed import DecomposedVolume
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import LPS_TO_RAS, Affine, Source, Volume

SOURCE = Source(kind="nifti", path=Path("ct.nii"), name="ct")
AFFINE = LPS_TO_RAS @ np.diag([4.0, 5.0, 10.0, 1.0])


@pytest.fixture(scope="module")
def predictor(weights: Path) -> SlicePredictor:
    return SlicePredictor.load(weights, device="cpu")


def findings(
    hu: np.ndarray, lungs: np.ndarray, affine: Affine, predictor: SlicePredictor, scratch: Scratch
) -> DecomposedVolume:
    volume = Volume(array=hu, affine=affine, intensity="hu", source=SOURCE)
    return decompose(volume, LungLabels(labels=lungs, method="drawn", notes=("a note",)), predictor, scratch)


def reordered(affine: Affine, shape: tuple[int, ...], order: tuple[int, ...], flip: int) -> Affine:
    """The affine of an array whose axes were permuted and one of them then turned round."""
    moved = affine.copy()
    moved[:, :3] = affine[:, list(order)]
    size = shape[order[flip]]
    moved[:3, 3] += moved[:3, flip] * (size - 1)
    moved[:3, flip] *= -1
    return moved


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_results_lie_on_the_volumes_grid_whatever_its_axes(
    order: tuple[int, ...], make: ModuleType, predictor: SlicePredictor
) -> None:
    chest = make.chest((48, 40, 6))
    with Scratch() as scratch:
        straight = findings(chest.hu, chest.lungs, AFFINE, predictor, scratch)
        flip = order[0]
        turned = findings(
            np.flip(chest.hu.transpose(order), flip),
            np.flip(chest.lungs.transpose(order), flip),
            reordered(AFFINE, chest.hu.shape, order, flip),
            predictor,
            scratch,
        )
        assert straight.score.any()
        for name in ("score", "lesion", "healthy"):
            expected = np.flip(getattr(straight, name).transpose(order), flip)
            np.testing.assert_array_equal(getattr(turned, name), expected, err_msg=name)


def test_an_oblique_volume_is_cut_along_its_own_axis(make: ModuleType, predictor: SlicePredictor) -> None:
    chest = make.chest((48, 40, 6))
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", (12, -8, 20), degrees=True).as_matrix()
    with Scratch() as scratch:
        straight = findings(chest.hu, chest.lungs, AFFINE, predictor, scratch)
        oblique = findings(chest.hu, chest.lungs, turn @ AFFINE, predictor, scratch)
        assert straight.score.any()
        np.testing.assert_allclose(oblique.volume.axial_spacing, straight.volume.axial_spacing)
        for name in ("score", "lesion", "healthy"):
            np.testing.assert_array_equal(getattr(oblique, name), getattr(straight, name), err_msg=name)


def test_every_slice_is_what_the_predictor_says_of_it(make: ModuleType, predictor: SlicePredictor) -> None:
    chest = make.chest((48, 40, 6))
    with Scratch() as scratch:
        found = findings(chest.hu, chest.lungs, AFFINE, predictor, scratch)
        assert found.notes[0] == "a note"
        assert found.notes[1].startswith("pixels of 5.0 mm, but about 0.8 mm in training")
        assert found.lungs_from == "drawn"
        scores, lungs, images = map(found.volume.axial, (found.score, chest.lungs, chest.hu))
        for at in range(6):
            if not lungs[at].any():
                assert not scores[at].any()
                continue
            grey = HU_WINDOW.to_grey(images[at])
            inside = lungs[at] > 0
            (alone,) = predictor.predict_stream([LungSlice(np.where(inside, grey, 0), inside)], (5.0, 4.0))
            np.testing.assert_array_equal(scores[at], np.rint(alone.score * 65535) * inside)
        outside = chest.lungs == 0
        np.testing.assert_array_equal(found.healthy[outside], chest.hu[outside])
        assert not found.score[outside].any()
        np.testing.assert_array_equal(found.lesion, found.score >= np.ceil(predictor.threshold * 65535))


@pytest.mark.parametrize(("between", "are"), [(5.0, True), (5.1, False)])
def test_neighbours_are_slices_up_to_5_mm_apart(make: ModuleType, between: float, are: bool) -> None:
    chest, predictor = (
        make.chest((48, 40, 12)),
        SlicePredictor.load(device="cpu"),
    )  # the package's, whose neighbours count
    affine = LPS_TO_RAS @ np.diag([4.0, 5.0, between, 1.0])
    with Scratch() as scratch:
        found = findings(chest.hu, chest.lungs, affine, predictor, scratch)
        scores, lungs, images = map(found.volume.axial, (found.score, chest.lungs, chest.hu))
        numbers = [at for at in range(12) if np.count_nonzero(lungs[at]) >= 5]  # of 1 cm2
        given = [
            SeriesSlice("one", at if are else 2 * at, LungSlice(np.where(inside, grey, 0), inside))
            for at in numbers
            for grey, inside in [(HU_WINDOW.to_grey(images[at]), lungs[at] > 0)]
        ]
        expected = np.zeros_like(scores)
        averaged = list(predictor.predict_series(given, (5.0, 4.0)))
        for one, prediction in zip(given, averaged, strict=True):
            at = one.position if are else one.position // 2
            expected[at] = np.rint(prediction.score * 65535) * one.slice.lungs
        list(lower_at_edges(expected, lungs, slices_blurred(between, 12)))
        alone = predictor.predict_stream((one.slice for one in given), (5.0, 4.0))
        changed = [np.abs(one.score - other.score).max() for one, other in zip(alone, averaged, strict=True)]
        assert (max(changed) > 0.01) == are
        np.testing.assert_array_equal(scores, expected)


def test_the_tips_of_lungs_are_not_looked_at(make: ModuleType, predictor: SlicePredictor) -> None:
    chest = make.chest((48, 40, 6))
    lungs = np.zeros_like(chest.lungs)
    lungs[20:22, 20:22, 3] = 1  # 4 voxels of 20 mm2: less than 1 cm2
    with Scratch() as scratch:
        assert not findings(chest.hu, lungs, AFFINE, predictor, scratch).score.any()


def test_next_to_upper_and_lower_edges_a_score_must_hold_through_slices(make: ModuleType, weights: Path) -> None:
    chest = make.chest((48, 40, 12))
    predictor = SlicePredictor.load(weights, device="cpu", threshold=0.142)  # about the median
    near = LPS_TO_RAS @ np.diag([4.0, 5.0, 2.5, 1.0])
    with Scratch() as scratch:
        apart = findings(chest.hu, chest.lungs, AFFINE, predictor, scratch)  # slices 10 mm apart say nothing
        close = findings(chest.hu, chest.lungs, near, predictor, scratch)
        raw, lungs, images = map(apart.volume.axial, (apart.score, chest.lungs, chest.hu))
        expected = np.array(raw)
        left = np.zeros(raw.shape, dtype=bool)
        lowest = np.ceil(predictor.threshold * 65535)
        for at, lowered in lower_at_edges(expected, lungs, 2):
            left[at] = lowered & (expected[at] < lowest)
        score, lesion, healthy = map(close.volume.axial, (close.score, close.lesion, close.healthy))
        np.testing.assert_array_equal(score, expected)
        np.testing.assert_array_equal(lesion, expected >= lowest)
        np.testing.assert_array_equal(healthy, np.where(left, images, apart.volume.axial(apart.healthy)))
        assert (healthy != apart.volume.axial(apart.healthy)).any()
        assert 0 < np.count_nonzero(lesion) < np.count_nonzero(raw >= lowest)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_outside_the_lungs_the_healthy_version_is_the_ct_to_the_bit(
    dtype: type, make: ModuleType, predictor: SlicePredictor
) -> None:
    chest = make.chest((48, 40, 6))
    hu = chest.hu.astype(dtype)
    outside = chest.lungs == 0
    corner = np.zeros(hu.shape, bool)
    corner[:6, :6] = corner[-6:, -6:] = True
    assert not (corner & ~outside).any()
    usual, padded = hu.copy(), hu.copy()
    usual[corner], padded[corner] = -1024, -2048
    padded[20:22, 2:4], usual[20:22, 2:4] = 20000, 20000  # metal
    if dtype is np.float32:
        padded[10, 10:20], usual[10, 10:20] = -1000.00006, -1000.00006
        padded[11, 10:20], usual[11, 10:20] = -0.0, -0.0
    inside = np.argwhere(chest.lungs > 0)[::7]
    usual[tuple(inside.T)], padded[tuple(inside.T)] = -1024, -1500  # darker than air, in the lungs
    with Scratch() as scratch:
        expected, found = (findings(one, chest.lungs, AFFINE, predictor, scratch) for one in (usual, padded))
        np.testing.assert_array_equal(found.score, expected.score)
        np.testing.assert_array_equal(found.lesion, expected.lesion)
        assert found.healthy.dtype == dtype
        assert found.healthy[outside].tobytes() == padded[outside].tobytes()
        changed = expected.healthy != usual
        assert changed.any()
        np.testing.assert_array_equal(found.healthy[changed], expected.healthy[changed])
        np.testing.assert_array_equal(found.healthy[~changed], padded[~changed])
