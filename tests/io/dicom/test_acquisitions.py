"""Acquisitions that one series mixes are told apart; what a proper series states of its slices does not split it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from scipy import ndimage

from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.dicom.acquisitions import acquisitions, mixture
from lesionsplit.io.dicom.alternation import preview, turns
from lesionsplit.io.dicom.series import read_series
from lesionsplit.volumes.intensity import ReadOptions
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

COUNT = 12
SMALL = (24, 20, COUNT)

DIFFERENCES: dict[str, tuple[Any, Any]] = {
    "AcquisitionNumber": (1, 2),
    "AcquisitionTime": ("120000", "120500"),
    "TemporalPositionIdentifier": (1, 2),
    "ConvolutionKernel": ("B30f", "B70f"),
    "ImageType": (["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "SECONDARY", "AXIAL"]),
    "ContentTime": ("120000", "120500"),
    "TriggerTime": ("300", "700"),
    "SeriesNumber": (1, 2),
    "KVP": ("80", "140"),
    "FrameOfReferenceUID": ("1.2.3", "1.2.4"),
    "ContrastBolusAgent": (None, "iohexol"),
}


def read(folder: Path, scratch: Scratch, **options: Any) -> Volume:
    files = sorted(folder.iterdir())
    source = Source(kind="dicom", path=folder, name="ct")
    return read_series([FileEntry(file) for file in files], scratch, source, options=ReadOptions(**options))


def mixed(make: ModuleType, folder: Path, keyword: str, shift: float, denser: int = 60) -> None:
    """Two acquisitions in one series, the second denser and shifted upwards, in millimetres."""
    hu = make.chest(SMALL).hu
    first, second = DIFFERENCES[keyword]
    make.make_series(folder, hu=hu, **{keyword: first})
    origin = (*make.ORIGIN[:2], make.ORIGIN[2] + shift)
    other = np.minimum(hu + denser, 3000).astype(np.int16)
    for file in make.make_series(folder / "other", hu=other, origin=origin, **{keyword: second}):
        make.edit(file, SeriesInstanceUID=pydicom.dcmread(next(folder.glob("*.dcm"))).SeriesInstanceUID)
        file.rename(folder / f"other-{file.name}")
    (folder / "other").rmdir()


@pytest.mark.parametrize(
    ("keyword", "shift"),
    [
        (keyword, shift)
        for keyword in DIFFERENCES
        for shift in (0.0, 5.0, 3.0)  # the same places, half a step, some of a step
        if (keyword, shift) != ("FrameOfReferenceUID", 5.0)  # values tell, see `OTHERS`
    ],
)
def test_a_mixture_is_refused_and_one_is_taken_whole(
    keyword: str, shift: float, make: ModuleType, tmp_path: Path
) -> None:
    mixed(make, tmp_path / "ct", keyword, shift)
    what = f"12 and 12 slices that differ in {keyword}"
    with Scratch() as scratch:
        with pytest.raises(DataError) as error:
            read(tmp_path / "ct", scratch)
        volume = read(tmp_path / "ct", scratch, force=True)
        np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu)
        np.testing.assert_allclose(volume.affine, make.affine_of())
    assert str(error.value) == (
        f"{tmp_path / 'ct'}: mixes 2 acquisitions at the same or alternating positions: {what}; give one of them, or "
        "use --force to read the one of 12 slices"
    )
    assert volume.source.notes == (f"12 of 24 slices were read, one acquisition of several: {what}",)


@pytest.mark.parametrize("force", [False, True])
def test_a_mixture_that_no_header_tells_is_told_by_its_grey(force: bool, make: ModuleType, tmp_path: Path) -> None:
    mixed(make, tmp_path / "ct", "SeriesNumber", 5.0, denser=150)
    for file in (tmp_path / "ct").iterdir():
        make.edit(file, SeriesNumber=1)
    with Scratch() as scratch:
        if force:
            volume = read(tmp_path / "ct", scratch, force=True)
            np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu)
            np.testing.assert_allclose(volume.affine, make.affine_of())
            assert len(volume.source.instances) == COUNT
            assert volume.source.notes[-1].endswith("the first of every 2 slices was read")
        else:
            with pytest.raises(DataError, match="its 24 slices are in turn of 2 acquisitions by their values"):
                read(tmp_path / "ct", scratch)


Other = Callable[[npt.NDArray[np.int16]], npt.NDArray[Any]]

OTHERS: dict[str, Other] = {
    "40 HU denser": lambda hu: hu + 40,
    "100 HU denser": lambda hu: hu + 100,
    "lungs 40 HU denser": lambda hu: np.where(hu < -500, hu + 40, hu),
    "soft tissue 40 HU denser": lambda hu: np.where(hu > -200, hu + 40, hu),
    "blood with contrast": lambda hu: np.where((hu > 50) & (hu < 200), hu + 100, hu),
    "a sharper kernel": lambda hu: hu + np.random.default_rng(1).normal(0, 40, hu.shape),
    "a smoother kernel": lambda hu: ndimage.gaussian_filter(hu.astype(float), (0.7, 0.7, 0)),
}


LEAST_SLICES = {"lungs 40 HU denser": 6, "a smoother kernel": 5}
"""Slices of each acquisition by which it can be told; else 3."""


def alternating(make: ModuleType, folder: Path, other: Other, count: int) -> npt.NDArray[np.int16]:
    """A series whose every second slice is of another acquisition that no header tells; returns the first one."""
    hu = make.chest((96, 80, 2 * count)).hu
    mixed = hu.copy()
    mixed[..., 1::2] = np.rint(other(hu))[..., 1::2]
    make.make_series(folder, hu=mixed)
    return np.asarray(hu[..., ::2])


@pytest.mark.parametrize(
    ("kind", "count"),
    [(kind, count) for kind in OTHERS for count in (3, 4, 5, 6, 12, 30) if count >= LEAST_SLICES.get(kind, 3)],
)
def test_phases_and_kernels_that_no_header_tells_are_told_by_values(
    kind: str, count: int, make: ModuleType, tmp_path: Path
) -> None:
    first = alternating(make, tmp_path / "ct", OTHERS[kind], count)
    problem = f"its {2 * count} slices are in turn of 2 acquisitions by their values, but no header tells them apart"
    with Scratch() as scratch:
        with pytest.raises(DataError) as error:
            read(tmp_path / "ct", scratch)
        volume = read(tmp_path / "ct", scratch, force=True)
        np.testing.assert_array_equal(volume.array, first)
        assert volume.spacing[2] == pytest.approx(2 * make.SPACING[2])
    assert str(error.value) == (
        f"{tmp_path / 'ct'}: {problem}; give one acquisition, or use --force to read the first slice of every 2"
    )
    assert volume.source.notes == (f"{problem}: the first of every 2 slices was read",)


@pytest.mark.parametrize("count", [4, 6, 7, 8, 11, 12, 13, 24, 50])
@pytest.mark.parametrize("seed", range(3))
def test_a_chest_of_one_acquisition_is_read_with_any_number_of_slices(seed: int, count: int, make: ModuleType) -> None:
    for noise in (0.0, 12.0, 60.0):
        for shape in ((96, 80), (24, 20)):
            hu = make.chest((*shape, count), seed=seed, noise=noise).hu
            assert turns([preview(hu[..., k]) for k in range(count)]) == 1


@pytest.mark.parametrize("order", [0, 1])
def test_slices_between_slices_are_no_acquisition(order: int, make: ModuleType) -> None:
    """Every second slice is the same as, or the mean of, its neighbours, and so has less noise."""
    hu = make.chest((96, 80, 20), noise=40.0).hu.astype(float)
    finer = ndimage.zoom(hu, (1, 1, 39 / 20), order=order)
    assert turns([preview(finer[..., k]) for k in range(finer.shape[2])]) == 1


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["lidc-idri-0001", "cip-ct64/dicom"])
def test_real_scans_are_of_one_acquisition_in_every_part(name: str, step: int, shared: Path) -> None:
    if not (shared / name).is_dir():
        pytest.skip(f"the scan is not here: {shared / name}")
    slices = [pydicom.dcmread(file) for file in (shared / name).glob("*.dcm")]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    previews = [preview(one.pixel_array.T * one.RescaleSlope + one.RescaleIntercept) for one in slices[::step]]
    for count in {*range(6, 26, 3), len(previews)}:
        found = {turns(previews[at : at + count]) for at in range(len(previews) - count + 1)}
        assert found <= {1}, count
    for keep in (1, 2):  # the same scan, every second slice of it 40 HU denser
        mixed = [one._replace(grey=one.grey + np.int16(40) * (k % 2)) for k, one in enumerate(previews[keep:])]
        assert turns(mixed) == 2


@pytest.fixture(scope="module")
def shared() -> Path:
    return Path(__file__).parents[4] / "shared" / "data"


def test_twins_that_nothing_tells_apart_are_refused_also_when_forced(make: ModuleType, tmp_path: Path) -> None:
    mixed(make, tmp_path / "ct", "SeriesNumber", 0.0)
    for number, file in enumerate(sorted((tmp_path / "ct").iterdir())):
        make.edit(file, SeriesNumber=1, InstanceNumber=number % 5)
    with Scratch() as scratch, pytest.raises(DataError, match="no header tells which belong together"):
        read(tmp_path / "ct", scratch, force=True)


def test_twins_are_told_apart_by_numbers_that_run_on(make: ModuleType, tmp_path: Path) -> None:
    mixed(make, tmp_path / "ct", "SeriesNumber", 0.0)
    for file in (tmp_path / "ct").iterdir():
        number = int(pydicom.dcmread(file).InstanceNumber)
        make.edit(file, SeriesNumber=1, InstanceNumber=number + (COUNT if file.name.startswith("other") else 0))
    with Scratch() as scratch:
        volume = read(tmp_path / "ct", scratch, force=True)
        np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu)


PROPER: dict[str, Callable[[int, pydicom.Dataset], None]] = {
    "acquisition number of each slice": lambda k, data: setattr(data, "AcquisitionNumber", k + 1),
    "acquisition number of each slice, downwards": lambda k, data: setattr(data, "AcquisitionNumber", COUNT - k),
    "acquisition number of each table position": lambda k, data: setattr(data, "AcquisitionNumber", k // 4 + 1),
    "numbers in no order": lambda k, data: setattr(data, "AcquisitionNumber", (k * 7) % COUNT),
    "time of each slice": lambda k, data: setattr(data, "AcquisitionTime", f"1200{k:02d}.{k:03d}"),
    "time of each table position": lambda k, data: setattr(data, "AcquisitionTime", f"12{k // 4:02d}00"),
    "two breaths": lambda k, data: setattr(data, "AcquisitionTime", f"12{k // 6 * 5:02d}{k:02d}"),
    "two reconstructions side by side": lambda k, data: setattr(data, "ContentTime", f"1200{k % 6:02d}"),
    "two reconstructions in turn": lambda k, data: setattr(data, "ContentTime", f"1200{k // 2 + k % 2 * 9:02d}"),
    "kernel of two blocks": lambda k, data: setattr(data, "ConvolutionKernel", "B30f" if k < 6 else "B70f"),
    "frames of reference of two blocks": lambda k, data: setattr(data, "FrameOfReferenceUID", f"1.2.{k // 6}"),
    "one odd slice": lambda k, data: setattr(data, "AcquisitionNumber", 2 if k == 5 else 1),
    "some without a number": lambda k, data: setattr(data, "AcquisitionNumber", None if k in (1, 2, 6, 9) else 1),
    "every fourth is marked": lambda k, data: setattr(
        data, "ImageType", ["ORIGINAL", "PRIMARY", "FIRST" if k % 4 == 0 else "NEXT"]
    ),
}


@pytest.mark.parametrize("kind", PROPER)
def test_a_proper_series_stays_one_volume(kind: str, make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path / "ct", SMALL, change=PROPER[kind])
    with Scratch() as scratch:
        volume = read(tmp_path / "ct", scratch)
        np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu)
    assert not [note for note in volume.source.notes if "acquisition" in note]


def headers(**columns: list[Any]) -> list[pydicom.Dataset]:
    rows = []
    for values in zip(*columns.values(), strict=True):
        rows.append(pydicom.Dataset())
        for keyword, value in zip(columns, values, strict=True):
            setattr(rows[-1], keyword, value)
    return rows


def test_acquisitions_with_a_number_for_each_slice() -> None:
    along = np.concatenate([np.arange(8.0), np.arange(8) + 0.5])
    found = mixture(headers(AcquisitionNumber=list(range(16))), along)
    assert found == ("AcquisitionNumber", (tuple(range(8)), tuple(range(8, 16))))


def test_uids_of_single_slices_are_no_acquisitions() -> None:
    rng = np.random.default_rng(0)
    for draw in range(200):
        count = 6 + draw % 2
        along = np.arange(float(count))
        order = rng.permutation(count)
        uids = [f"1.2.{min(order[k], 3)}" for k in range(count)]  # four UIDs in no order
        for keyword in ("FrameOfReferenceUID", "StudyInstanceUID", "IrradiationEventUID", "SeriesInstanceUID"):
            assert mixture(headers(**{keyword: uids}), along) is None
        uids = [f"1.2.{number}" for number in rng.permutation(count)]
        assert mixture(headers(FrameOfReferenceUID=uids), along) is None


def test_acquisitions_with_a_number_for_each_table_position() -> None:
    along = np.concatenate([np.arange(12.0), np.arange(12.0)])
    found = mixture(headers(AcquisitionNumber=[k // 4 for k in range(24)]), along)
    assert found == ("AcquisitionNumber", (tuple(range(12)), tuple(range(12, 24))))


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_two_phases_of_each_table_position(shift: float) -> None:
    along = np.concatenate(
        [[block * 4.0 + k + phase * shift for k in range(4)] for block in range(4) for phase in (0, 1)]
    )
    found = mixture(headers(AcquisitionNumber=[k // 4 for k in range(32)]), along)
    first = tuple(index for index in range(32) if index // 4 % 2 == 0)
    assert found == ("AcquisitionNumber", (first, tuple(index + 4 for index in first)))


def test_a_thin_and_a_thick_reconstruction() -> None:
    along = np.concatenate([np.arange(20.0), np.arange(0, 20, 5.0)])
    found = mixture(headers(SliceThickness=["1"] * 20 + ["5"] * 4), along)
    assert found == ("SliceThickness", (tuple(range(20)), tuple(range(20, 24))))


def test_two_elements_tell_four_acquisitions_apart() -> None:
    along = np.tile(np.arange(5.0), 4)
    table = headers(AcquisitionNumber=[1] * 10 + [2] * 10, ConvolutionKernel=(["a"] * 5 + ["b"] * 5) * 2)
    assert acquisitions(table, along) == [tuple(range(start, start + 5)) for start in (0, 5, 10, 15)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_turns_of_acquisitions_are_told_by_grey(count: int) -> None:
    noise = np.random.default_rng(0)
    body = noise.normal(0, 200, (24, 16, 16)).cumsum(axis=0) / 20
    slices = [body[k] + 150 * (k % count) + noise.normal(0, 20, (16, 16)) for k in range(24)]
    assert turns([preview(one) for one in slices]) == count


def test_noise_alone_is_no_turn() -> None:
    noise = np.random.default_rng(0)
    assert turns([preview(noise.normal(0, 50, (16, 16))) for _ in range(24)]) == 1
