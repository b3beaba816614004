"""The picture that every viewer shows: in the study, valid, the pixels as drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from lesionsplit.errors import DataError
from lesionsplit.io.dicom.identity import Identity
from lesionsplit.io.dicom.secondary_capture import write_secondary_capture
from lesionsplit.volumes.decomposed import DecomposedVolume

Find = Callable[..., DecomposedVolume]
PICTURE = np.random.default_rng(3).integers(0, 256, (31, 47, 3)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["straight", "oblique"])
def test_it_holds_the_picture_in_the_study_of_the_slices(
    find: Find, identity: Identity, tmp_path: Path, complaints: Callable[[Path], list[str]], kind: str
) -> None:
    volume = find(kind, PatientName="Doe^Jane").volume
    path = write_secondary_capture(volume, PICTURE, tmp_path / "sc.dcm", identity=identity)
    data = pydicom.dcmread(path)
    assert np.array_equal(data.pixel_array, PICTURE)
    first = volume.source.instances[0]
    assert (data.StudyInstanceUID, data.PatientName) == (first.StudyInstanceUID, "Doe^Jane")
    assert (data.SeriesInstanceUID, data.SOPInstanceUID) == (identity.pictures.series, identity.pictures.uid)
    assert data.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (data.PhotometricInterpretation, data.BurnedInAnnotation) == ("RGB", "NO")
    assert complaints(path) == []


@pytest.mark.parametrize("shape", [(31, 47), (31, 47, 4)])
def test_another_shape_is_refused(find: Find, identity: Identity, tmp_path: Path, shape: Any) -> None:
    with pytest.raises(DataError, match=r"allowed: \(rows, columns, 3\)"):
        write_secondary_capture(find().volume, np.zeros(shape, np.uint8), tmp_path / "sc.dcm", identity=identity)
    assert not (tmp_path / "sc.dcm").exists()
