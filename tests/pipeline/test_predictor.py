"""One call from any kind of scan to a result."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from lesionsplit.errors import DataError, SettingsError
from lesionsplit.images import read_grey
from lesionsplit.pipeline.calls import predict, read_volume
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.result import Result, SliceResult
from lesionsplit.pipeline.volume_result import VolumeResult
from lesionsplit.runtime import Runtime

SHAPE, SPACING = (48, 40, 6), (8.0, 8.0, 20.0)
FAST = {"lung_method": "thresholds"}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load("default", runtime=Runtime(device="cpu", threads=1))


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory, make: ModuleType) -> Path:
    path = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    return Path(make.make_nifti(path, make.chest(SHAPE).hu, affine=make.affine_of(SPACING)))


@pytest.fixture(scope="module")
def whole(predictor: Predictor, ct: Path) -> Result:
    return predictor.predict(ct, **FAST)


@pytest.fixture
def image(phantom_folder: Path) -> Path:
    return phantom_folder / "images" / "lesion_1.png"


def test_a_volume_gives_arrays_on_its_own_grid(whole: Result, ct: Path) -> None:
    assert isinstance(whole, VolumeResult)
    loaded = nib.load(ct)
    for array in (whole.image, whole.score, whole.lesion, whole.lungs, whole.healthy):
        assert array.shape == loaded.shape
    np.testing.assert_allclose(whole.affine, loaded.affine)
    np.testing.assert_array_equal(whole.lesion, whole.score >= 0.35925841153582055)
    assert whole.lesion.any()
    assert set(np.unique(whole.lungs)) == {0, 1, 2}
    outside = np.asarray(whole.lungs) == 0
    np.testing.assert_array_equal(np.asarray(whole.healthy)[outside], np.asarray(whole.image)[outside])
    ml = whole.lesion.sum() * 8 * 8 * 20 / 1000
    assert whole.numbers["lesion_ml"] == pytest.approx(ml, rel=1e-5)
    assert whole.numbers["severity_score"] is None  # no lobes were given


@pytest.mark.parametrize("kind", ["path", "nibabel", "simpleitk", "array"])
def test_every_kind_of_source_gives_the_same(kind: str, whole: Result, ct: Path, predictor: Predictor) -> None:
    loaded: Any = nib.load(ct)
    sources = {
        "path": (str(ct), None),
        "nibabel": (loaded, None),
        "simpleitk": (SimpleITK.ReadImage(str(ct)), None),
        "array": (np.asarray(loaded.dataobj), loaded.affine),
    }
    source, affine = sources[kind]
    found = predictor.predict(source, affine=affine, **FAST)
    np.testing.assert_array_equal(found.score, whole.score)
    np.testing.assert_array_equal(found.healthy, whole.healthy)
    assert found.numbers == whole.numbers


def test_an_image_and_its_array_give_the_same(predictor: Predictor, image: Path) -> None:
    one, other = predictor.predict(image), predictor.predict(read_grey(image))
    assert isinstance(one, SliceResult)
    assert one.name == "lesion_1"
    assert one.score.shape == read_grey(image).shape
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(one.healthy, other.healthy)
    np.testing.assert_array_equal(one.lesion, one.score >= np.float32(predictor.threshold))
    assert one.numbers["lesion_pixels"] == one.lesion.sum()
    assert one.numbers["lesion_fraction"] == pytest.approx((one.lesion & one.lungs).sum() / one.lungs.sum())


def test_many_scans_come_in_their_order(predictor: Predictor, image: Path, ct: Path, tmp_path: Path) -> None:
    grey = np.full((64, 64), 255, dtype=np.uint8)  # a slice of no body at all
    Image.fromarray(grey).save(tmp_path / "blank.png")
    normal = image.with_name("normal_1.png")
    names = [one.name for one in predictor.predict_many([image, normal, ct, image], lungs=None)]
    assert names == ["lesion_1", "normal_1", "ct", "lesion_1"]
    found = list(predictor.predict_many([tmp_path / "blank.png", image], intensity="8-bit"))
    assert [one.name for one in found] == ["blank", "lesion_1"]
    assert found[0].notes == ("no lung found, so no lesion",)
    assert not found[0].lesion.any()


def test_results_save_what_is_asked_for(whole: Result, predictor: Predictor, image: Path, tmp_path: Path) -> None:
    assert [path.name for path in whole.save(tmp_path / "a", ["lesion", "numbers"])] == [
        "lesion.nii.gz",
        "report.json",
        "report.csv",
    ]
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"lesion.nii.gz", "report.json", "report.csv"}
    saved = nib.load(tmp_path / "a" / "lesion.nii.gz")
    np.testing.assert_array_equal(np.asarray(saved.dataobj) > 0, whole.lesion)
    found = predictor.predict(image)
    assert [path.name for path in found.save(tmp_path / "b")] == [
        f"lesion_1_{kind}.png" for kind in ("score", "mask", "healthy", "overlay")
    ]
    with pytest.raises(SettingsError, match="ct: cannot write 'seg'; allowed here: score, lesion, lungs"):
        whole.save(tmp_path / "c", ["seg"])
    with pytest.raises(SettingsError, match="lesion_1: cannot write 'page'; allowed here: score, mask"):
        found.save(tmp_path / "c", ["page"])


def test_results_show_themselves(whole: Result, predictor: Predictor, image: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures come with lesionsplit[plots]")
    for one, title in ((whole, "ct, slice "), (predictor.predict(image), "lesion_1")):
        figure = one.show()
        assert len(figure.axes) == 4
        assert figure.get_suptitle().startswith(title)
        assert one._repr_png_().startswith(b"\x89PNG")
        assert figure._repr_png_() == one._repr_png_()  # so a notebook shows it, not its name
        assert one.name in repr(one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lobes": np.zeros((1, 1))}, "is an image, and --lobes applies to volumes only"),
        ({"lung_method": "thresholds"}, "is an image, and --lung-method applies to volumes only"),
        ({"force": True}, "is an image, and --force applies to volumes only"),
        ({"write": ("seg",)}, "write is not an option of predict; give it to Result.save"),
        ({"omit_empty_frames": True}, "is an image, and --omit-empty-frames applies to volumes only"),
        ({"intensity": "hu"}, "is an image, which has no HU"),
        ({"colour": 1}, "unknown option colour; allowed: intensity, force"),
    ],
)
def test_what_does_not_apply_to_an_image_is_refused(
    options: dict[str, Any], message: str, predictor: Predictor, image: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        predictor.predict(image, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"omit_empty_frames": True}, "gets no DICOM segmentation, so --omit-empty-frames does not apply"),
        ({"lung_method": "foo"}, "lung_method is 'foo'; allowed: network, thresholds, lungmask"),
        ({"intensity": "foo"}, "intensity is 'foo'; allowed: auto, hu, 8-bit"),
        ({"lungs": [1]}, "lungs is a list; allowed: a path or an array"),
        ({"ground_glass": (-300, -700)}, "allowed: a lower end below the upper end"),
        ({"lungmask_weights": "w.pth"}, "--lungmask-weights applies to --lung-method lungmask only"),
        ({"lungs": np.ones(SHAPE, bool), "lung_method": "network"}, "--lung-method and --lungmask-weights do not"),
    ],
)
def test_what_does_not_apply_to_a_volume_is_refused(
    options: dict[str, Any], message: str, predictor: Predictor, ct: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        predictor.predict(ct, **options)


def test_files_that_do_not_apply_to_a_volume_are_refused() -> None:
    with pytest.raises(SettingsError, match="ct: was not read from DICOM, so seg cannot be made of it"):
        PredictOptions(write=("seg", "lesion")).check_volume("ct", no_dicom="was not read from DICOM", hu=True)
    with pytest.raises(SettingsError, match="cannot write everything; allowed: score"):
        PredictOptions(write=("everything",))
    PredictOptions(write=("seg", "lesion")).check_volume("ct", hu=True)


def test_options_have_the_names_of_the_command_line(predictor: Predictor, ct: Path, whole: Result) -> None:
    found = predictor.predict(ct, ground_glass=(-500, -400), consolidation=(-400, 100), deidentify=True, **FAST)
    assert found.numbers["ground_glass_ml"] != whole.numbers["ground_glass_ml"]
    assert found.origin.pseudonyms is not None
    assert set(found.numbers) == set(whole.numbers)
    assert "name" not in found.numbers


def test_the_users_lungs_as_an_array(predictor: Predictor, ct: Path, whole: Result) -> None:
    found = predictor.predict(ct, lungs=np.asarray(whole.lungs) > 0)
    np.testing.assert_array_equal(np.asarray(found.lungs) > 0, np.asarray(whole.lungs) > 0)
    with pytest.raises(DataError, match="the label map is uint8 \\(2, 2, 2\\)"):
        predictor.predict(ct, lungs=np.ones((2, 2, 2), np.uint8))
    with pytest.raises(DataError, match="allowed: whole numbers from 0 to 65535"):  # which would wrap to 0
        predictor.predict(ct, lungs=np.full(SHAPE, 65536))


@pytest.mark.parametrize(
    ("source", "affine", "message"),
    [
        (np.zeros((4, 4, 4)), None, "an array of shape \\(4, 4, 4\\); allowed: a path"),
        (np.zeros((4, 4), np.float32), None, "the slice is float32 \\(4, 4\\)"),
        (7, None, "the source is a int; allowed: a path"),
        ("nowhere.nii", None, "nowhere.nii: no such file or folder"),
        ("nowhere.nii", np.eye(4), "affine applies to an array"),
    ],
)
def test_what_is_no_scan_is_one_line(source: Any, affine: Any, message: str, predictor: Predictor) -> None:
    with pytest.raises(DataError, match=message) as caught:
        predictor.predict(source, affine=affine)
    assert "\n" not in str(caught.value)


def test_a_folder_with_several_scans_is_refused(predictor: Predictor, phantom_folder: Path) -> None:
    with pytest.raises(DataError, match="holds 36 scans; give one of them, or predict_many for several"):
        predictor.predict(phantom_folder / "images")


def test_one_call_does_the_same(ct: Path, whole: Result) -> None:
    found = predict(ct, threshold=0.9, runtime=Runtime(device="cpu", threads=1), **FAST)
    np.testing.assert_array_equal(found.score, whole.score)
    np.testing.assert_array_equal(found.lesion, whole.score >= 0.9)


def test_a_volume_can_be_read_alone(ct: Path, image: Path) -> None:
    volume = read_volume(ct)
    np.testing.assert_array_equal(volume.array, np.asarray(nib.load(ct).dataobj))
    assert volume.intensity == "hu"
    with pytest.raises(DataError, match="is an image of one slice, not a volume"):
        read_volume(image)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001)])
def test_an_image_of_nibabel_in_another_unit_is_converted(
    unit: str, factor: float, ct: Path, whole: Result, predictor: Predictor
) -> None:
    loaded = nib.load(ct)
    image = nib.Nifti1Image(np.asarray(loaded.dataobj), np.diag([1 / factor] * 3 + [1]) @ loaded.affine)
    image.header.set_xyzt_units(unit)
    found = predictor.predict(image, **FAST)
    np.testing.assert_allclose(found.affine, whole.affine, rtol=1e-5)
    assert f"its lengths, in {unit}, were converted to millimetres" in found.notes
    assert found.numbers["lesion_ml"] == pytest.approx(whole.numbers["lesion_ml"], rel=1e-4)


def test_few_of_16_bits_are_read_on_a_scale_of_their_own_or_refused(predictor: Predictor, make: ModuleType) -> None:
    chest = make.chest((240, 200, 9), noise=20)
    hu, lungs = chest.hu[..., 4].T, chest.lungs[..., 4].T > 0
    twelve = (hu.clip(-1024, 3071) + 1024).astype(np.uint16)
    eight = np.rint(np.clip((hu + 1250) / 1500, 0, 1) * 255).astype(np.uint8)
    found, expected = (predictor.predict(one, intensity="8-bit", lungs=lungs) for one in (twelve, eight))
    assert np.abs(found.score - expected.score).max() < 0.1
    assert found.healthy.dtype == np.uint16
    np.testing.assert_array_equal(found.healthy[~lungs], twelve[~lungs])
    for options in ({}, {"lungs": lungs}):
        with pytest.raises(DataError, match=r"16 bit, but its values are from .*--intensity 8-bit"):
            predictor.predict(np.where(lungs, twelve, 0).astype(np.uint16), **options)
