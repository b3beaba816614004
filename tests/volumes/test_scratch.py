from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionsplit.errors import DataError
from lesionsplit.volumes.scratch import Scratch, forget


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


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with Scratch(tmp_path) as scratch:
        monkeypatch.setattr(np, "memmap", full)
        with pytest.raises(DataError, match=r"no room for temporary files \(No space left on device\)"):
            scratch.array((2, 2, 2), np.uint8)
