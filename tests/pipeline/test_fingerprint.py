from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from lesionsplit.io.archive import FileEntry
from lesionsplit.pipeline.fingerprint import files_of, fingerprint


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
def test_the_voxels_of_a_detached_header_count_whatever_they_are_called(
    name: str, make: ModuleType, tmp_path: Path
) -> None:
    path = make.make_itk(tmp_path / name, make.chest((24, 20, 6)).hu)
    (voxels,) = set(tmp_path.iterdir()) - {path}
    voxels.rename(tmp_path / "voxels.bin")
    path.write_text(path.read_text().replace(voxels.name, "voxels.bin"))
    assert files_of([FileEntry(path)]) == [path, tmp_path / "voxels.bin"]
    before = fingerprint([FileEntry(path)])
    (tmp_path / "voxels.bin").write_bytes(b"other")
    assert fingerprint([FileEntry(path)]) != before
    path.write_text("broken")
    assert files_of([FileEntry(path)]) == [path]
