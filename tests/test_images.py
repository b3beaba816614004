from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from lesionsplit.errors import DataError
from lesionsplit.images import as_float, as_grey, read_grey, read_header, resize, write_bytes, write_image

RAMP8 = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
RAMP16 = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("ramp", [RAMP8, RAMP16])
def test_grey_of_either_depth_is_read_to_the_bit(tmp_path: Path, suffix: str, ramp: np.ndarray) -> None:
    path = tmp_path / f"slice{suffix}"
    Image.fromarray(ramp).save(path)
    image = read_grey(path)
    assert image.dtype == ramp.dtype
    np.testing.assert_array_equal(image, ramp)
    assert read_header(path) == (3, 4, 8 * ramp.itemsize)


def test_jpeg_is_read_about_right(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 90, dtype=np.uint8)).save(tmp_path / "slice.jpg")
    np.testing.assert_allclose(read_grey(tmp_path / "slice.jpg"), 90, atol=1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
def test_colour_with_equal_channels_is_grey(tmp_path: Path, mode: str) -> None:
    Image.fromarray(RAMP8).convert(mode).save(tmp_path / "slice.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "slice.png"), RAMP8)


def test_what_is_not_a_grey_slice_is_refused(tmp_path: Path) -> None:
    colour = np.zeros((4, 4, 3), dtype=np.uint8)
    colour[..., 0] = 9
    Image.fromarray(colour).save(tmp_path / "colour.png")
    Image.fromarray(RAMP8.astype(np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(RAMP8 > 3).save(tmp_path / "bits.png")
    frames = [Image.fromarray(RAMP8), Image.fromarray(RAMP8)]
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:1500])
    for name, message in {
        "colour.png": "is a colour image",
        "float.tif": "has pixels of type 'F'; allowed: grey, 8 or 16 bit",
        "bits.png": "has pixels of type '1'",
        "pages.tif": "has 2 pages; give one slice a file",
        "text.png": "is not an image",
        "empty.png": "is not an image",
        "half.png": "is the file whole?",
        "missing.png": "no such file",
        "": "is a folder",
    }.items():
        with pytest.raises(DataError, match=message.replace("?", "[?]")) as caught:
            read_grey(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_header_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.fromarray(RAMP8).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="claims to have more than"):
        read_grey(path)


def test_grey_and_fraction_are_inverse() -> None:
    for ramp in (RAMP8, RAMP16):
        np.testing.assert_array_equal(as_grey(as_float(ramp), ramp.dtype), ramp)
    np.testing.assert_array_equal(as_grey(np.float32([-1, 0.5, 2])), [0, 128, 255])


def test_resize_averages_and_keeps_edges() -> None:
    image = np.float32([[0, 2, 4, 6], [0, 2, 4, 6]])
    np.testing.assert_allclose(resize(image, (1, 2), Resampling.BOX), [[1, 5]])
    assert resize(image, (2, 4)) is image


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_image(tmp_path / "new" / "a.png", RAMP8)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        write_bytes(tmp_path / "file" / "a.png", b"x")
    assert (tmp_path / "file").read_text() == "in the way"
