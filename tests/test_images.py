from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from PIL.Image import Resampling

from lesionsplit import images as module
from lesionsplit.errors import DataError
from lesionsplit.images import (
    as_float,
    as_grey,
    read_grey,
    read_header,
    read_mask_file,
    resize,
    shown,
    write_bytes,
    write_image,
)

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
    Image.fromarray(RAMP8.astype(np.int16) - 1000).save(tmp_path / "signed.tif")
    Image.fromarray(RAMP16.astype(np.int32) * 9).save(tmp_path / "wide.tif")
    for name, message in {
        "signed.tif": "has values from -1000 to ",
        "wide.tif": "has values from 0 to 495000; allowed",
        "colour.png": "is a colour image",
        "float.tif": "has values from 0 to 220; allowed: grey, 8 or 16 bit; a slice in HU is read from NIfTI",
        "bits.png": "has pixels of type '1'",
        "pages.tif": "has 2 pages; give one slice per file",
        "text.png": "is not an image",
        "empty.png": "is not an image",
        "half.png": "is the file complete?",
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


def tiff(path: Path, image: np.ndarray, *, order: str = "<", photometric: int = 0, leave_out: int = 0) -> Path:
    """A TIFF written by hand, without compression; one tag may be left out."""
    bits = 8 * image.itemsize
    rows, columns = image.shape
    content = (
        np.packbits(image, axis=1).tobytes()
        if image.dtype == bool
        else image.astype(f"{order}{image.dtype.str[1:]}").tobytes()
    )
    tags = {
        256: columns, 257: rows, 258: 1 if image.dtype == bool else bits, 259: 1, 262: photometric, 273: 8, 277: 1,
        278: rows, 279: len(content), 339: 3 if image.dtype.kind == "f" else 1,
    }  # fmt: skip
    tags.pop(leave_out, None)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(content))
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    path.write_bytes(head + content + struct.pack(f"{order}H", len(tags)) + entries + bytes(4))
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ramp", [RAMP8, RAMP16])
def test_white_as_zero_is_one_picture_of_any_depth_and_byte_order(tmp_path: Path, ramp: np.ndarray, order: str) -> None:
    top = np.iinfo(ramp.dtype).max
    for photometric, stored in ((0, top - ramp), (1, ramp)):
        path = tiff(tmp_path / "a.tif", stored, order=order, photometric=photometric)
        np.testing.assert_array_equal(read_grey(path), ramp)
        assert read_grey(path).dtype == ramp.dtype


@pytest.mark.parametrize("order", ["<", ">"])
def test_masks_with_white_as_zero(tmp_path: Path, order: str) -> None:
    lungs = np.zeros((4, 16), bool)
    lungs[1:3, 2:9] = True
    for stored in (~lungs, np.where(lungs, 0, 255).astype(np.uint8), np.where(lungs, 0, 65535).astype(np.uint16)):
        np.testing.assert_array_equal(read_mask_file(tiff(tmp_path / "a.tif", stored, order=order), "lung"), lungs)


def test_white_as_zero_in_a_compressed_file(tmp_path: Path) -> None:
    inverted = Image.fromarray(65535 - RAMP16)
    inverted.save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={262: 0})
    with Image.open(tmp_path / "a.tif") as image:
        assert image.tag_v2[262] == 0
    np.testing.assert_array_equal(read_grey(tmp_path / "a.tif"), RAMP16)


def palette(image: np.ndarray, colours: list[int]) -> Image.Image:
    picture = Image.fromarray(image.astype(np.uint8)).convert("P")
    picture.putpalette(colours + [0] * (768 - len(colours)))
    return picture


LUNGS = np.zeros((6, 8), bool)
LUNGS[1:4, 2:6] = True


@pytest.mark.parametrize(
    "mask",
    [
        LUNGS,
        LUNGS.astype(np.uint8),
        LUNGS.astype(np.uint8) * 2,
        LUNGS.astype(np.uint8) * 127,
        LUNGS.astype(np.uint8) * 255,
        LUNGS.astype(np.uint16),
        LUNGS.astype(np.uint16) * 255,
        LUNGS.astype(np.uint16) * 4095,
        LUNGS.astype(np.uint16) * 65535,
        LUNGS.astype(np.int32),
        LUNGS.astype(np.float32),
        LUNGS.astype(np.float32) * 255,
    ],
)
def test_a_mask_of_two_values_is_one_of_any_type(tmp_path: Path, mask: np.ndarray) -> None:
    Image.fromarray(mask).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_mask_file(tmp_path / "a.tif", "lung"), LUNGS)


@pytest.mark.parametrize(
    ("indices", "colours"),
    [
        (LUNGS, [0, 0, 0, 128, 0, 0]),
        (LUNGS, [0, 0, 0, 255, 255, 255]),
        (LUNGS, [0, 0, 0, 1, 1, 1]),
        (~LUNGS, [255, 255, 255, 0, 0, 0]),  # black and white are what they look like
        (LUNGS * 3, [9, 9, 9, 0, 0, 0, 0, 0, 0, 200, 30, 30]),
    ],
)
def test_of_a_palette_with_colours_the_index_counts(tmp_path: Path, indices: np.ndarray, colours: list[int]) -> None:
    palette(indices, colours).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask_file(tmp_path / "a.png", "lung"), LUNGS)


def test_masks_of_several_classes_are_refused(tmp_path: Path) -> None:
    classes = LUNGS.astype(np.uint8)
    classes[4:] = 2
    palette(classes, [0, 0, 0, 128, 0, 0, 0, 128, 0]).save(tmp_path / "palette.png")
    Image.fromarray(classes).save(tmp_path / "grey.png")
    Image.fromarray(classes.astype(np.float32) / 4).save(tmp_path / "float.tif")
    Image.fromarray(np.full((6, 8), 2, np.uint8)).save(tmp_path / "one.png")
    for name, highest, top in (
        ("palette.png", "2", 255),
        ("grey.png", "2", 255),
        ("float.tif", "0.5", 1),
        ("one.png", "2", 255),
    ):
        with pytest.raises(DataError) as caught:
            read_mask_file(tmp_path / name, "lung")
        assert str(caught.value) == (
            f"mask {tmp_path / name} has values up to {highest}; allowed: 0 for outside and {top} for lung, or 0 and "
            "one other value"
        )


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 273, 278, 279])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_that_lacks_a_tag_is_read_or_refused_in_one_line(tmp_path: Path, tag: int, order: str) -> None:
    path = tiff(tmp_path / "a.tif", RAMP16, order=order, photometric=1, leave_out=tag)
    for read in (read_grey, read_header):
        said = refusal(read, path)
        assert said if tag in (256, 257) else True
        assert not said or (said.startswith(f"{path}: ") and said.isprintable())


def refusal(read: Callable[[Path], object], path: Path) -> str:
    """The line that a file is refused with; empty if it is read."""
    try:
        read(path)
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (9500, 9500), (1 << 31, 1), (1, (1 << 31) - 1)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_absurd_sizes_are_one_line(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tiff(path, RAMP8, photometric=1)
        content = path.read_bytes()
        for tag, value in zip((256, 257), size, strict=True):
            entry = struct.pack("<HHI", tag, 4, 1)
            at = content.index(entry) + len(entry)
            content = content[:at] + struct.pack("<I", value) + content[at + 4 :]
    else:
        Image.fromarray(RAMP8).save(path)
        content = path.read_bytes()
        head = content[12:16] + struct.pack(">II", *size) + content[24:29]
        content = content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
    path.write_bytes(content)
    for read in (read_grey, read_header):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.gif", {}), ("a.webp", {"lossless": True})])
def test_what_moves_is_refused(tmp_path: Path, name: str, options: dict[str, bool]) -> None:
    frames = [Image.fromarray(RAMP8), Image.fromarray(255 - RAMP8)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    for read in (read_grey, lambda path: read_mask_file(path, "lung")):
        with pytest.raises(DataError, match="has 2 pages; give one slice per file"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "error", [KeyError("ImageWidth"), TypeError("int() of None"), ZeroDivisionError(), MemoryError()]
)
def test_whatever_pillow_raises_is_one_line(tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RAMP8).save(tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(DataError, match=r"a.png: cannot be read \(.+\); is the file complete\?"):
        read_grey(tmp_path / "a.png")


def test_few_bits_of_16_are_seen_in_pictures() -> None:
    for top in (1023, 4095, 16383):
        np.testing.assert_allclose(shown(np.array([[0, top // 2, top]], np.uint16)), [[0, 0.5, 1]], atol=1e-3)
    for image in (RAMP8, RAMP16, np.zeros((2, 2), np.uint16)):
        np.testing.assert_array_equal(shown(image), as_float(image))


def several_channels(path: Path, image: np.ndarray, channels: int) -> Path:
    """16 bits in each of several equal channels, written by hand: as PNG, 2 for grey with alpha, or as TIFF."""
    rows, columns = image.shape
    samples = np.repeat(image[..., None], channels, axis=2)
    if channels == 2:
        samples[..., 1] = 65535
    if path.suffix == ".png":
        lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
        head = struct.pack(">IIBBBBB", columns, rows, 16, {2: 4, 3: 2}[channels], 0, 0, 0)
        chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
        written = (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))
        return path
    content = samples.astype("<u2").tobytes()
    at = 8 + len(content)
    tags = {256: columns, 257: rows, 258: at, 259: 1, 262: 2, 273: 8, 277: channels, 278: rows, 279: len(content)}
    entries = b"".join(
        struct.pack("<HHII", tag, 3, 3, value) if tag == 258 else struct.pack("<HHII", tag, 4, 1, value)
        for tag, value in tags.items()
    )
    bits = struct.pack("<HHH", 16, 16, 16)
    path.write_bytes(
        b"II*\0" + struct.pack("<I", at + 6) + content + bits + struct.pack("<H", len(tags)) + entries + bytes(4)
    )
    return path


@pytest.mark.parametrize(("name", "channels"), [("a.png", 2), ("a.png", 3), ("a.tif", 3)])
def test_12_bits_in_several_channels_of_16_are_refused(tmp_path: Path, name: str, channels: int) -> None:
    path = several_channels(tmp_path / name, np.arange(48, dtype=np.uint16).reshape(6, 8) * 85, channels)
    with pytest.raises(
        DataError, match="has 16 bits in several channels, of which the upper 8 are read and are nearly"
    ):
        read_grey(path)
    full = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300
    np.testing.assert_array_equal(read_grey(several_channels(path, full, channels)), full >> 8)


@pytest.mark.parametrize("error", [AttributeError("no attribute"), MemoryError()])
def test_errors_that_are_not_of_the_file_are_not_blamed_on_it(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(RAMP8).save(tmp_path / "slice.png")

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "_grey", fails)
    with pytest.raises(type(error)) as caught:
        read_grey(tmp_path / "slice.png")
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "logged"), [(AttributeError("odd"), True), (MemoryError("odd"), True), (SyntaxError("odd"), False)]
)
def test_unusual_errors_of_decoding_are_one_line_with_a_trace_in_the_log(
    error: Exception, logged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(RAMP8).save(tmp_path / "slice.png")

    def fails(_: object) -> None:
        raise error

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fails)
    with caplog.at_level(logging.ERROR, "lesionsplit"), pytest.raises(DataError, match=r"cannot be read \(odd\)"):
        read_grey(tmp_path / "slice.png")
    assert [record.exc_info is not None for record in caplog.records] == [True] * logged
