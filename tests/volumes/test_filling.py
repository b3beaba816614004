from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.errors import DataError
from lesionsplit.volumes import filling as module
from lesionsplit.volumes.filling import Filling
from lesionsplit.volumes.intensity import ReadOptions
from lesionsplit.volumes.scratch import Scratch

SHAPE = (3, 4, 5)


def slices(dtype: str) -> np.ndarray:
    return np.random.default_rng(1).integers(-1000, 900, SHAPE).astype(dtype)


@pytest.mark.parametrize("dtype", ["i1", "i2", ">i2", "i4", "i8", "f2", "f4", "f8"])
def test_whole_numbers_are_int16(dtype: str) -> None:
    values = slices("i2") % 100 if dtype == "i1" else slices("i2")
    with Scratch() as scratch:
        filling = Filling(scratch, SHAPE)
        for k in range(5):
            filling.put(k, values[..., k].astype(dtype))
        assert filling.array.dtype == np.int16
        np.testing.assert_array_equal(filling.array, values)


@pytest.mark.parametrize("odd", [0.5, 40000, -40000.25])
def test_from_the_first_value_that_int16_does_not_hold_it_is_float32(odd: float) -> None:
    values = slices("f8")
    values[1, 2, 3] = odd
    with Scratch() as scratch:
        filling = Filling(scratch, SHAPE)
        for k in range(5):
            filling.put(k, values[..., k])
            assert filling.array.dtype == (np.int16 if k < 3 else np.float32)
        np.testing.assert_array_equal(filling.array, values.astype(np.float32))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_values_are_kept_to_the_bit(dtype: str) -> None:
    values = np.linspace(0, 200, 12).reshape(3, 4).astype(dtype)
    values[0, 0] = 3 if dtype.startswith("u") else -3000
    with Scratch() as scratch:
        filling = Filling(scratch, (3, 4, 1))
        filling.put(0, values)
        np.testing.assert_array_equal(filling.array[..., 0], values.astype(filling.array.dtype))
        assert filling.seen.lowest == min(values[0, 0], values.min())


def test_only_what_a_scale_factor_may_have_left_is_rounded() -> None:
    near = np.full((3, 4), -1000.0) + 1 / 16384
    with Scratch() as scratch:
        exact, scaled = Filling(scratch, (3, 4, 1)), Filling(scratch, (3, 4, 1))
        exact.put(0, near.astype(np.float32))
        scaled.put(0, near)
        assert exact.array.dtype == np.float32
        np.testing.assert_array_equal(exact.array[..., 0], near)
        assert scaled.array.dtype == np.int16
        assert (scaled.array == -1000).all()


def test_what_is_filled_leaves_memory_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten = []
    monkeypatch.setattr(module, "RESIDENT", 40)
    monkeypatch.setattr(module, "forget", forgotten.append)
    values = slices("i2")
    with Scratch() as scratch:
        filling = Filling(scratch, SHAPE)
        for k in range(5):
            filling.put(k, values[..., k])
        assert len(forgotten) == 2  # after every other slice of 24 bytes
        np.testing.assert_array_equal(filling.array, values)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_no_number_is_counted(odd: float) -> None:
    values = slices("f8")
    values[0, 1, 2] = values[0, 1, 4] = odd
    with Scratch() as scratch:
        filling = Filling(scratch, SHAPE)
        for k in range(5):
            filling.put(k, values[..., k])
        with pytest.raises(DataError, match=r"ct: 2 voxels are not numbers \(NaN or infinite\)"):
            filling.finish(ReadOptions(), "ct")
        array, intensity, notes = filling.finish(ReadOptions(force=True), "ct")
        values[0, 1, 2] = values[0, 1, 4] = -1024
        np.testing.assert_array_equal(array, values)
    assert intensity == "hu"
    assert notes == ("2 voxels that are not numbers were replaced with air (-1024)",)


@pytest.mark.parametrize(("dtype", "value", "kept"), [("i4", -32768, "i2"), ("i4", 32767, "i2"), ("i4", 32768, "f4")])
def test_whole_numbers_at_the_ends_of_int16(dtype: str, value: int, kept: str) -> None:
    values = np.full((3, 4), -5, dtype)
    values[1, 1] = value
    with Scratch() as scratch:
        filling = Filling(scratch, (3, 4, 1))
        filling.put(0, values)
        assert filling.array.dtype == np.dtype(kept)
        np.testing.assert_array_equal(filling.array[..., 0], values)
        assert filling.finish(ReadOptions(intensity="hu"), "ct")[2] == ()
