"""Against a chest of which every voxel is known, however its grid lies, and a real one with another's label map."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from lesionsplit.errors import DataError, NoLungError, SettingsError
from lesionsplit.images import as_grey
from lesionsplit.lungs.find import LungMethod, find_lungs, find_lungs_in_slice
from lesionsplit.volumes.decomposed import LEFT, RIGHT
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

Bool = npt.NDArray[np.bool_]


def dice(one: Bool, two: Bool) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def reoriented(volume: Volume, codes: str) -> Volume:
    """The same chest with its axes in another order and direction, by nibabel."""
    turn = ornt_transform(io_orientation(volume.affine), axcodes2ornt(tuple(codes)))
    array = nibabel.orientations.apply_orientation(volume.array, turn)
    affine = volume.affine @ inv_ornt_aff(turn, volume.shape)
    return replace(volume, array=array, affine=affine)


def turned_about(axis: int, degrees: float) -> npt.NDArray[np.float64]:
    matrix = np.eye(3)
    one, two = [other for other in range(3) if other != axis]
    angle = np.radians(degrees)
    matrix[[one, one, two, two], [one, two, one, two]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    return matrix


@pytest.mark.parametrize("using", ["network", "thresholds"])
def test_both_lungs_are_found_and_told_apart(chest, scratch: Scratch, using: str) -> None:
    found = find_lungs(chest.volume, scratch, using=using)
    assert found.labels.dtype == np.uint8
    assert found.labels.shape == chest.volume.shape
    assert found.labels.flags.f_contiguous
    for side in (RIGHT, LEFT):
        assert dice(found.labels == side, chest.truth == side) > 0.98
    assert found.notes == ()


def test_slices_without_lung_get_none(chest, scratch: Scratch) -> None:
    lungs, truth = (chest.volume.axial(labels) for labels in (find_lungs(chest.volume, scratch).labels, chest.truth))
    without = ~truth.any(axis=(1, 2))
    assert without[[0, -1]].all()
    assert not lungs[without].any()


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAI", "RPI", "SLA", "RSA", "PSR", "AIL"])
def test_the_order_and_direction_of_axes_change_nothing(chest, scratch: Scratch, codes: str) -> None:
    turned = reoriented(chest.volume, codes)
    assert "".join(nibabel.aff2axcodes(turned.affine)) == codes
    found = turned.axial(find_lungs(turned, scratch).labels)
    np.testing.assert_array_equal(found, chest.volume.axial(find_lungs(chest.volume, scratch).labels))


@pytest.mark.parametrize(
    ("spacing", "shape", "turned"),
    [
        ((2.2, 2.2, 18.0), (190, 170, 17), turned_about(2, 14) @ turned_about(0, 9)),
        ((2.2, 2.2, 18.0), (176, 144, 15), turned_about(2, 180)),  # on the front
        ((1.3, 2.6, 20.0), (280, 128, 12), np.eye(3)),
        ((4.0, 4.0, 9.0), (100, 70, 28), turned_about(1, 5)),
        ((0.9, 0.9, 40.0), (400, 300, 5), np.eye(3)),
    ],
    ids=["oblique", "prone", "anisotropic", "coarse", "fine"],
)
def test_any_grid(drawing, scratch: Scratch, spacing, shape, turned) -> None:
    drawn = drawing(spacing, shape, turned=turned)
    found = find_lungs(drawn.volume, scratch).labels
    for side in (RIGHT, LEFT):
        assert dice(found == side, drawn.truth == side) > 0.96


def test_a_single_slice(drawing, scratch: Scratch) -> None:
    drawn = drawing((1.4, 1.4, 5.0), (260, 200, 1))
    found = find_lungs(drawn.volume, scratch)
    for side in (RIGHT, LEFT):
        assert dice(found.labels == side, drawn.truth == side) > 0.98
    assert found.notes == ()


def dense_balls(point: npt.NDArray[np.float64], lungs: Bool) -> Bool:
    """All over both lungs."""
    return np.sin(point[..., 0] / 9) * np.sin(point[..., 1] / 8) * np.sin(point[..., 2] / 14) > 0.3


def test_scattered_dense_disease_stays_inside(drawing, scratch: Scratch) -> None:
    drawn = drawing(disease=dense_balls)
    found = find_lungs(drawn.volume, scratch).labels
    assert (found > 0)[drawn.disease].mean() > 0.75
    for side in (RIGHT, LEFT):
        assert dice(found == side, drawn.truth == side) > 0.97


def test_an_abdomen_has_no_lung(drawing, scratch: Scratch) -> None:
    abdomen = drawing((2.0, 2.0, 8.0), (190, 150, 3))
    below = abdomen.volume.array.copy()
    below[abdomen.truth > 0] = 40
    below[40:60, 50:62] = -1000  # bowel
    with pytest.raises(
        DataError, match=r"^chest.nii: no lung found in 3 slices; give a chest CT, or your own lung mask$"
    ):
        find_lungs(replace(abdomen.volume, array=below), scratch)


@pytest.mark.parametrize("value", [-1024, 0, 40, 300])
@pytest.mark.parametrize("using", ["network", "thresholds"])
def test_nothing_at_all_has_no_lung(scratch: Scratch, chest, value: int, using: str) -> None:
    empty = replace(chest.volume, array=np.full((64, 50, 1), value, np.int16))
    with pytest.raises(DataError, match="no lung found in 1 slice;"):
        find_lungs(empty, scratch, using=using)


@pytest.mark.parametrize(("low", "high"), [(-1000, 400), (-1350, 150), (-1024, 1500)])
def test_a_grey_volume_has_the_same_lungs(chest, scratch: Scratch, low: float, high: float) -> None:
    grey = as_grey(((chest.volume.array - low) / (high - low)).astype(np.float32))
    found = find_lungs(replace(chest.volume, array=grey, intensity="grey"), scratch).labels
    for side in (RIGHT, LEFT):
        assert dice(found == side, chest.truth == side) > 0.97


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_raw_slice(drawing, dtype: type[np.unsignedinteger]) -> None:
    drawn = drawing((0.8, 0.8, 5.0), (460, 320, 1))
    hu, truth = (drawn.volume.axial(array)[0] for array in (drawn.volume.array, drawn.truth))
    found = find_lungs_in_slice(as_grey(((hu + 1100) / 1400).astype(np.float32), dtype))
    assert dice(found, truth > 0) > 0.97


def test_a_raw_slice_without_lung() -> None:
    with pytest.raises(DataError, match=r"^slice: no lung found in 1 slice;"):
        find_lungs_in_slice(np.full((60, 80), 90, np.uint8))


def test_what_the_frame_and_the_scan_cut_is_told(drawing, scratch: Scratch) -> None:
    drawn = drawing((2.2, 2.2, 10.0), (110, 144, 12))
    frame, ends = find_lungs(drawn.volume, scratch).notes
    assert frame == "lungs touch the edge of the frame in 12 of 12 slices: they are incomplete"
    assert ends == "the scan cuts the lungs at the bottom and top: they are incomplete"


def test_there_is_no_such_device(chest, scratch: Scratch) -> None:
    with pytest.raises(SettingsError, match="device 'warp' is not available"):
        find_lungs(chest.volume, scratch, device="warp")


def test_lungmask_needs_weights_and_itself(chest, scratch: Scratch, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(DataError, match=r"lungmask: no weights given; .* with --lungmask-weights"):
        find_lungs(chest.volume, scratch, using="lungmask")
    weights = tmp_path / "unet.pth"
    with pytest.raises(DataError, match=r"unet.pth: no such file"):
        find_lungs(chest.volume, scratch, using="lungmask", lungmask_weights=weights)
    weights.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "lungmask", None)
    with pytest.raises(DataError, match=r"lungmask is not installed; pip install 'lesionsplit\[lungmask\]'"):
        find_lungs(chest.volume, scratch, using="lungmask", lungmask_weights=weights)


def test_lungmask_is_given_axial_slices_and_its_labels_come_back(
    chest, scratch: Scratch, tmp_path: Path, monkeypatch
) -> None:
    weights = tmp_path / "unet.pth"
    weights.write_bytes(b"")
    asked = {}

    class Fake:
        def __init__(self, **options: object) -> None:
            asked.update(options)

        def apply(self, image: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
            np.testing.assert_array_equal(image, chest.volume.axial())
            return np.ascontiguousarray(chest.volume.axial(chest.truth))

    monkeypatch.setitem(sys.modules, "lungmask", types.SimpleNamespace(LMInferer=Fake))
    turned = reoriented(chest.volume, "AIL")
    found = find_lungs(turned, scratch, using="lungmask", lungmask_weights=weights, device="cpu")
    np.testing.assert_array_equal(turned.axial(found.labels), chest.volume.axial(chest.truth))
    assert asked == {"modelname": "R231", "modelpath": str(weights), "force_cpu": True, "tqdm_disable": True}


@pytest.fixture(scope="module")
def real(shared: Path) -> tuple[Volume, npt.NDArray[np.int64]]:
    """A real chest that the network has not seen, and somebody else's map of its lungs' thirds: 9 to 14."""
    image, reference = (SimpleITK.ReadImage(str(shared / "cip-ct64" / name)) for name in ("ct-64.nrrd", "lm-64.nrrd"))
    affine = np.diag([-image.GetSpacing()[0], -image.GetSpacing()[1], image.GetSpacing()[2], 1.0])
    array = SimpleITK.GetArrayFromImage(image).T
    source = Source(kind="nrrd", path=Path("ct-64.nrrd"), name="ct-64")
    regions = (SimpleITK.GetArrayFromImage(reference).T & 255).astype(np.int64)
    return Volume(array=array, affine=affine, intensity="hu", source=source), regions


def test_a_real_chest_against_another_label_map(real, scratch: Scratch) -> None:
    volume, regions = real
    found = find_lungs(volume, scratch)
    assert found.notes == ()
    for side, parts in ((LEFT, (9, 10, 11)), (RIGHT, (12, 13, 14))):
        assert dice(found.labels == side, np.isin(regions, parts)) > 0.965


def test_much_fluid_stays_inside_where_thresholds_lose_all_and_the_user_is_told(real, scratch: Scratch) -> None:
    volume, regions = real
    lungs = (regions >= 9) & (regions <= 14)
    rows = np.indices(volume.shape)[1]
    level = [
        np.quantile(rows[..., k][lungs[..., k]], 0.65) if lungs[..., k].any() else 0 for k in range(lungs.shape[2])
    ]
    fluid = lungs & (rows > np.array(level))  # rows run to the back
    ill = replace(volume, array=np.where(fluid, 35, volume.array).astype(np.int16))
    found = find_lungs(ill, scratch)
    assert (found.labels > 0)[fluid].mean() > 0.4
    assert found.notes[0].startswith("lung mask doubtful: network and thresholds agree to Dice 0.")
    assert (find_lungs(ill, scratch, using="thresholds").labels > 0)[fluid].mean() < 0.05


def one_slice(path: Path) -> Volume:
    import pydicom

    header = pydicom.dcmread(path)
    hu = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
    across, down = float(header.PixelSpacing[1]), float(header.PixelSpacing[0])
    return Volume(
        array=hu.astype(np.int16).T[:, :, None],
        affine=np.diag([-across, -down, 5.0, 1.0]),
        intensity="hu",
        source=Source(kind="dicom", path=path, name=path.stem),
    )


def shifted(volume: Volume, offset: int, slices: int = 1) -> Volume:
    """As from a scanner whose HU are off by some, each slice several times."""
    hu = np.clip(volume.array.astype(np.int32) + offset, -1024, 3071).astype(np.int16)
    return replace(volume, array=np.repeat(hu, slices, axis=2))


def test_real_slices_of_the_abdomen_have_no_lung(shared: Path, scratch: Scratch) -> None:
    refused = []
    for path in sorted((shared / "covid-ny-sbu").glob("*.dcm")):
        volume = one_slice(path)
        try:
            found = find_lungs(volume, scratch).labels
        except DataError:
            refused.append(path.stem)
        else:
            assert {RIGHT, LEFT} <= set(np.unique(found).tolist())
    assert refused == ["A058062_19001231-084", "A058062_19010108-078"]


@pytest.mark.parametrize("offset", [-50, -30, -20, 20, 50])
@pytest.mark.parametrize("using", ["network", "thresholds"])
def test_scanners_whose_air_is_off_by_some_hu_are_read_all_the_same(
    offset: int, using: LungMethod, real, scratch: Scratch
) -> None:
    volume, regions = real
    found = find_lungs(shifted(volume, offset), scratch, using=using).labels
    assert dice(found > 0, (regions >= 9) & (regions <= 14)) > 0.95


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("offset", [-50, -30, 0, 30, 50])
@pytest.mark.parametrize("using", ["network", "thresholds"])
def test_bowel_is_no_lung_on_such_scanners(
    offset: int, slices: int, using: LungMethod, shared: Path, scratch: Scratch
) -> None:
    bowel = one_slice(next((shared / "covid-ny-sbu").glob("*A058062_19001231-084.dcm")))
    with pytest.raises(NoLungError):
        find_lungs(shifted(bowel, offset, slices), scratch, using=using)
