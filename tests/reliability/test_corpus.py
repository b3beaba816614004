"""What fuzzing found: inputs that reach all the code that it reached, and those that were faults once."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from lesionsplit.errors import DataError

from .fuzz import inputs
from .seeds import packed_slice

CORPUS = Path(inputs.__file__).parent / "corpus.zip"


@pytest.fixture(scope="module", autouse=True)
def _no_files_left() -> Iterator[None]:
    yield
    shutil.rmtree(inputs.scratch_folder(), ignore_errors=True)


@pytest.mark.parametrize("kind", range(len(inputs.KINDS)))
def test_no_input_of_the_corpus_is_a_fault(kind: int) -> None:
    with zipfile.ZipFile(CORPUS) as archive:
        chosen = [name for name in archive.namelist() if archive.read(name)[0] % len(inputs.KINDS) == kind]
        assert chosen
        for name in chosen:
            found = inputs.tried(archive.read(name))
            assert found.right, f"{name}: {found.fate}: {found.said}"


def test_first_inputs_are_whole() -> None:
    for name, content in inputs.first_inputs().items():
        assert inputs.tried(content).fate == "read", name


@pytest.mark.parametrize(
    ("syntax", "tags"),
    [
        ("JPEGExtendedProcess2_4", {"BitsAllocated": 32}),
        ("JPEGExtendedProcess2_4", {"BitsAllocated": 32, "BitsStored": 8, "HighBit": 0}),
        ("JPEGExtendedProcess2_4", {"PixelRepresentation": 15}),
        ("JPEGLosslessProcess14_1", {"BitsAllocated": 32}),
    ],
)
def test_what_ends_the_process_in_gdcm_is_refused_before(syntax: str, tags: dict[str, int], tmp_path: Path) -> None:
    data = pydicom.dcmread(packed_slice(tmp_path / "a.dcm", syntax))
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(tmp_path / "a.dcm")
    with pytest.raises(DataError, match="its pixels cannot be decoded"):
        inputs.scans.read_scan(tmp_path / "a.dcm")
