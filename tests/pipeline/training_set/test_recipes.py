"""Public data sets, as small files of the same layout."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest

from lesionsplit.cli.prepare import RECIPES as NAMES
from lesionsplit.data.table import Table, read_table
from lesionsplit.errors import DataError
from lesionsplit.images import read_mask_file
from lesionsplit.pipeline.training_set.recipes import RECIPES, planned_by
from lesionsplit.pipeline.training_set.request import PrepareRequest
from lesionsplit.runtime import Runtime

SHAPE, SPACING = (64, 64, 8), (4.0, 4.0, 10.0)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*SPACING, 1.0])), path)


def eight_bit(hu: np.ndarray) -> np.ndarray:
    return np.rint(np.clip((hu + 1350) / 1500, 0, 1) * 255).astype(np.uint8)


def prepared(root: Path, recipe: str, **given: Any) -> Table:
    request = PrepareRequest(inputs=(root,), out=root.parent / "data", recipe=recipe, lung_method="thresholds", **given)
    done = request.run(Runtime())
    assert done.failed == 0
    return read_table(root.parent / "data")


def patients(root: Path) -> dict[str, str]:
    with (root.parent / "data/scans.csv").open(newline="") as file:
        return {row["scan"]: row["patient"] for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    "folders",
    [("COVID-19-CT-Seg_20cases", "Lung_Mask", "Infection_Mask"), ("ct_scans", "lung_mask", "infection_mask")],
)
def test_covid_ct_20_has_hu_and_8_bit_scans(tmp_path: Path, make: ModuleType, folders: tuple[str, ...]) -> None:
    root = tmp_path / "set"
    for seed, name in enumerate(("coronacases_001", "radiopaedia_10_85902_1", "radiopaedia_10_85902_3")):
        chest = make.chest(SHAPE, seed=seed)
        hu = chest.hu if name.startswith("corona") else eight_bit(chest.hu)
        for folder, array in zip(folders, (hu, chest.lungs, chest.lesion.astype(np.uint8)), strict=True):
            save(root / folder / f"{name}.nii.gz", array)
    table = prepared(root, "covid-ct-20")
    assert {row.series for row in table} == {"coronacases_001", "radiopaedia_10_85902_1", "radiopaedia_10_85902_3"}
    assert {row.label for row in table} == {"normal", "lesion"}
    assert table.annotators == ("infection",)
    found = patients(root)
    assert found["radiopaedia_10_85902_1"] == found["radiopaedia_10_85902_3"] != found["coronacases_001"]


def test_mosmed_labels_by_the_folder(tmp_path: Path, make: ModuleType) -> None:
    root = tmp_path / "set"
    for number, (grade, ill) in enumerate({"CT-0": False, "CT-1": True, "CT-4": True}.items()):
        chest = make.chest(SHAPE, seed=number, lesion=ill)
        save(root / f"studies/{grade}/study_000{number}.nii.gz", chest.hu)
        if grade == "CT-1":
            save(root / f"masks/study_000{number}_mask.nii.gz", chest.lesion.astype(np.uint8))
    table = prepared(root, "mosmed")
    labels = {row.series: row.label for row in table}
    assert labels == {"study_0000": "normal", "study_0001": "lesion", "study_0002": "lesion"}
    assert {row.series for row in table if row.masks} == {"study_0001"}


def test_covid_19_20(tmp_path: Path, make: ModuleType) -> None:
    root = tmp_path / "set"
    for number in (3, 11):
        chest = make.chest(SHAPE, seed=number)
        save(root / f"Train/volume-covid19-A-{number:04d}_ct.nii.gz", chest.hu)
        save(root / f"Train/volume-covid19-A-{number:04d}_seg.nii.gz", chest.lesion.astype(np.uint8))
    table = prepared(root, "covid-19-20")
    assert {row.series for row in table} == {"volume-covid19-A-0003_ct", "volume-covid19-A-0011_ct"}
    assert {row.label for row in table} == {"normal", "lesion"}


def test_medseg_9_leaves_effusion_out(tmp_path: Path, make: ModuleType) -> None:
    root = tmp_path / "set"
    chest = make.chest(SHAPE)
    classes = np.where(chest.lesion, 2, 0).astype(np.uint8)
    classes[(chest.lungs == 2)] = 3
    for folder, array in (("rp_im", chest.hu), ("rp_msk", classes), ("rp_lung_msk", chest.lungs)):
        save(root / folder / "1.nii.gz", array)
    table = prepared(root, "medseg-9")
    marked = sum(np.count_nonzero(read_mask_file(row.masks["medseg"], "lesion")) for row in table if row.masks)
    written = [int(row.image.stem) - 1 for row in table if row.masks]
    assert marked == np.count_nonzero(chest.lesion[..., written])


def contours(series: Any, outlines: list[tuple[str, list[list[tuple[int, int]]]]]) -> bytes:
    """An XML file in the form of LIDC: for each slice the outlines of each reader."""
    ElementTree.register_namespace("", "http://www.nih.gov")
    root = ElementTree.Element("{http://www.nih.gov}LidcReadMessage")

    def add(parent: ElementTree.Element, tag: str, text: str = "") -> ElementTree.Element:
        one = ElementTree.SubElement(parent, f"{{http://www.nih.gov}}{tag}")
        one.text = text
        return one

    add(add(root, "ResponseHeader"), "SeriesInstanceUid", str(series))
    for reader in range(4):
        nodule = add(add(root, "readingSession"), "unblindedReadNodule")
        for image, readers in outlines:
            if readers[reader]:
                roi = add(nodule, "roi")
                add(roi, "imageSOP_UID", image)
                add(roi, "inclusion", "TRUE")
                for column, row in readers[reader]:
                    edge = add(roi, "edgeMap")
                    add(edge, "xCoord", str(column))
                    add(edge, "yCoord", str(row))
    return ElementTree.tostring(root)


def test_lidc_contours_become_masks(tmp_path: Path, make: ModuleType) -> None:
    root, shape = tmp_path / "set", (72, 64, 8)  # columns and rows differ
    files = make.make_series(root / "LIDC-IDRI-0001/study/series", shape, spacing=SPACING)
    heads = [pydicom.dcmread(path) for path in files]
    box = [(15, 20), (25, 20), (25, 40), (15, 40)]
    text = contours(
        heads[0].SeriesInstanceUID,
        [(heads[4].SOPInstanceUID, [box, box, [], []]), (heads[3].SOPInstanceUID, [box, [], [], []])],
    )
    (root / "LIDC-IDRI-0001/study/series/069.xml").write_bytes(text)
    table = prepared(root, "lidc-idri")
    assert {int(row.image.stem) - 1: row.label for row in table if row.label == "lesion"} == {3: "lesion", 4: "lesion"}
    lungs = make.chest(shape).lungs
    expected = np.zeros((64, 72), dtype=bool)
    expected[21:40, 16:25] = True  # the outline is outside
    for row in table:
        if row.label == "lesion":
            inside = read_mask_file(row.lungs, "lung")  # type: ignore[arg-type]
            np.testing.assert_array_equal(read_mask_file(row.masks["any"], "lesion"), expected & inside)
            half = expected & inside if row.image.stem == "0005" else np.zeros_like(inside)
            np.testing.assert_array_equal(read_mask_file(row.masks["majority"], "lesion"), half)
    assert expected[lungs[..., 4].T > 0].any()


def test_a_scan_in_which_no_reader_found_anything_is_normal(tmp_path: Path, make: ModuleType) -> None:
    root = tmp_path / "set"
    files = make.make_series(root / "a", SHAPE, spacing=SPACING)
    (root / "a/1.xml").write_bytes(contours(pydicom.dcmread(files[0]).SeriesInstanceUID, []))
    for name in ("any", "majority"):
        table = prepared(root, "lidc-idri", labels_from=name, overwrite=name == "majority")
        assert {row.label for row in table} == {"normal"}


def test_contours_of_another_series_are_refused(tmp_path: Path, make: ModuleType) -> None:
    root = tmp_path / "set"
    files = make.make_series(root / "a", SHAPE, spacing=SPACING)
    series = pydicom.dcmread(files[0]).SeriesInstanceUID
    (root / "a/1.xml").write_bytes(contours(series, [("1.2.3", [[(1, 1)], [], [], []])]))
    lines: list[str] = []
    request = PrepareRequest(inputs=(root,), out=tmp_path / "data", recipe="lidc-idri")
    with pytest.raises(DataError, match="no slice could be written"):
        request.run(Runtime(warn=lines.append))
    assert "contours of other slices" in lines[-1]


@pytest.mark.parametrize("name", list(RECIPES))
def test_another_layout_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"is not laid out as|has no folder"):
        planned_by(name, tmp_path)


def test_the_command_offers_every_recipe() -> None:
    assert tuple(RECIPES) == NAMES
