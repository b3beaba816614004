"""With --deidentify no text of the source is in any output: a canary in every text element, name and header."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import pytest
from pydicom import config
from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined]
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from lesionsplit.io.cases import find_cases
from lesionsplit.io.dicom.pseudonyms import Pseudonyms
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.volumes import predict_volumes
from lesionsplit.runtime import Runtime

SMALL = (48, 40, 6)
SPACING = (8.0, 8.0, 20.0)
CANARY = "kanari"
UID_CANARY = "47474747474747"  # long enough never to be in a random UID

TEXT = dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "TM", "LO", "LT", "SH", "ST", "UC", "UR", "UT"), "Kanari text")
TEXT |= {"PN": "Kanari^Text", "UI": f"1.2.3.{UID_CANARY}"}

READ = {
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "ImageType"),
    *("PhotometricInterpretation", "SpecificCharacterSet", "RescaleType", "TransferSyntaxUID"),
}
"""Elements without which the series is not read."""


def plant(_: int, data: Any) -> None:
    """A canary in every text element that DICOM has, in nested and private ones."""
    for tag, entry in DicomDictionary.items():
        kind, keyword = entry[0].split(" or ")[0], entry[4]
        if kind in TEXT and keyword and keyword not in READ and tag >> 16 not in (0, 2, 4, 0xFFFE):
            data[tag] = DataElement(tag, kind, TEXT[kind])
    item = Dataset()
    item.PatientName = "Kanari^Nested"
    data.OtherPatientIDsSequence = data.RequestAttributesSequence = [item]
    data.private_block(0x11, "KANARI PRIVATE", create=True).add_new(1, "LO", "kanari private")
    data.LossyImageCompression = "01"


@pytest.fixture
def _invalid_values() -> Iterator[None]:
    with config.disable_value_validation():
        yield


def outputs(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        yield "name of a file", str(path.relative_to(folder)).encode()
        if path.is_file():
            yield path.name, gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def predicted(inputs: list[Path], out: Path, *, force: bool = False) -> list[str]:
    """Predict; returns what holds a canary."""
    options = PredictOptions(lung_method="thresholds", pseudonyms=Pseudonyms(), force=force)
    found = find_cases(inputs, recursive=False)
    predictor = Predictor.load(runtime=Runtime(device="cpu"))
    outcome = predict_volumes(found.cases, out, predictor, options, refused=found.refused)
    assert outcome.done == 1, found.refused
    canaries = (CANARY, UID_CANARY)
    texts = ((name, content.decode("latin-1").lower()) for name, content in outputs(out))
    return [name for name, text in texts if any(canary in text for canary in canaries)]


@pytest.mark.usefixtures("_invalid_values")
def test_no_text_of_a_series_is_in_any_output(tmp_path: Path, make: ModuleType) -> None:
    folder = tmp_path / "Kanari folder"
    paths = make.make_series(folder, SMALL, spacing=SPACING, change=plant)
    for path in paths:
        path.rename(path.with_name(f"kanari-{path.name}"))
    (folder / "kanari-broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"kanari")
    for number, path in enumerate(sorted(folder.iterdir())[1:3]):  # two different slices of one place
        twin = folder / f"kanari-twin-{number}.dcm"
        shutil.copy(path, twin)
        make.edit(twin, RescaleIntercept=-1000 - number)
    assert predicted([folder], tmp_path / "out", force=True) == []


def test_no_text_of_a_nifti_header_or_name_is_in_any_output(tmp_path: Path, make: ModuleType) -> None:
    image = nib.Nifti1Image(make.chest(SMALL).hu, make.affine_of(SPACING))
    for field in ("descrip", "aux_file", "intent_name", "db_name"):
        image.header[field] = b"kanari"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"kanari"))
    path = tmp_path / "kanari.nii"
    nib.save(image, path)
    broken = tmp_path / "kanari-broken.nii"
    broken.write_bytes(path.read_bytes()[:400])
    assert predicted([path, broken, tmp_path / "case-kanari.nii"], tmp_path / "out") == []


def test_no_text_of_a_metaimage_in_an_archive_is_in_any_output(tmp_path: Path, make: ModuleType) -> None:
    (tmp_path / "in").mkdir()
    path = make.make_itk(tmp_path / "in/kanari.mha", make.chest(SMALL).hu, affine=make.affine_of(SPACING))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"ObjectType", b"Comment = kanari\nObjectType", 1))
    archive = Path(shutil.make_archive(str(tmp_path / "kanari"), "zip", tmp_path / "in"))
    assert predicted([archive], tmp_path / "out") == []
