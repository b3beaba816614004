from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from lesionsplit.errors import DataError
from lesionsplit.volumes.scratch import Scratch, axially_stored, forget
from lesionsplit.volumes.volume import Source, Volume


def test_what_is_forgotten_comes_back(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        array = scratch.array((4, 5, 6), np.int16)
        view = array.transpose(2, 1, 0)[::-1]
        view[0] = 7
        forget(view)
        assert (array[..., 5] == 7).all()
        assert not array[..., :5].any()
    assert not list(tmp_path.iterdir())


def test_forgetting_an_array_in_memory_does_nothing() -> None:
    array = np.ones(3)
    forget(array)
    assert array.sum() == 3


def test_a_full_disk_is_known_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Scratch(tmp_path) as scratch:
        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(DataError, match=r"no space for temporary files \(No space left on device\)"):
            scratch.array((2, 2, 2), np.uint8)


KILLED = """
import os, signal, sys
from pathlib import Path
from lesionsplit.volumes.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]))
scratch.array((2, 2, 2), "u1")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Scratch() as scratch:
        scratch.array((2, 2, 2), np.uint8)
        assert not left.exists()
    assert not list(tmp_path.iterdir())


def test_a_scratch_in_use_by_another_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scratch(tmp_path):
        monkeypatch.setattr("lesionsplit.atomic._alive", set())  # as for another process
        monkeypatch.setattr("lesionsplit.atomic._swept", set())
        with Scratch(tmp_path):
            assert len(list(tmp_path.iterdir())) == 2
    assert not list(tmp_path.iterdir())


def test_a_folder_for_temporary_files_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = rf"^{tmp_path / 'no'}: no temporary folder can be made \(No such file or directory\); free some space, or"
    with pytest.raises(DataError, match=message):
        Scratch(tmp_path / "no")


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_axial_slices_are_in_one_piece_whatever_the_axes(order: tuple[int, ...], tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (np.diag([-1.0, -2.0, 3.0]))[:, list(order)]
    source = Source(kind="nifti", path=Path("ct.nii"), name="ct")
    with Scratch(tmp_path) as scratch:
        array = scratch.array((70, 80, 90), np.int16)
        array[...] = np.random.default_rng(0).integers(-1000, 1000, array.shape)
        volume = Volume(array=array, affine=affine, intensity="hu", source=source)
        turned = axially_stored(volume, scratch)
        np.testing.assert_array_equal(turned.array, array)
        assert (turned is volume) == (order[2] == 2)
        for one in (turned.array, scratch.like(volume, np.uint8)):
            assert one.shape == volume.shape
            steps = [abs(step) for step in volume.axial(one).strides]
            assert steps[0] == max(steps)
