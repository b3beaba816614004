"""What the bytes of a fuzzer become: the first says which kind of file, the others are what is in it."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import NamedTuple

import pydicom
from pydicom.encaps import encapsulate, get_frame

from .. import readers_of_scans as scans
from ..reader import Attempt, observed
from ..seeds import packed_slice

LARGEST = 10_000
"""Bytes of a first input."""


class Kind(NamedTuple):
    """A kind of file."""

    suffix: str
    read: Callable[[Path], str]
    content: Callable[[bytes], bytes] = bytes
    """From the fuzzer's bytes to those of the file."""


@cache
def _jpeg_slice(folder: Path) -> pydicom.Dataset:
    return pydicom.dcmread(packed_slice(folder / "jpeg.dcm", "JPEGLosslessProcess14_1"))


def _in_dicom(frame: bytes) -> bytes:
    """A JPEG image as the pixels of a slice."""
    data = _jpeg_slice(scratch_folder())
    data.PixelData = encapsulate([frame.ljust(2, b"\0")])
    data["PixelData"].is_undefined_length = True
    out = io.BytesIO()
    data.save_as(out, enforce_file_format=True)
    return out.getvalue()


KINDS = (
    Kind(".dcm", scans.read_scan, _in_dicom),
    Kind(".nii", scans.read_scan),
    Kind(".nrrd", scans.read_scan),
    Kind(".mha", scans.read_scan),
    Kind(".zip", scans.read_scan),
    Kind(".dcm", scans.read_scan),
)
"""By the first byte, modulo their number: a JPEG image in a slice, NIfTI, NRRD, MetaImage, an archive, a slice."""


@cache
def scratch_folder() -> Path:
    """Where files are written: in memory, where the system has a place for that."""
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")  # noqa: S108
    folder = base / f"lesionsplit-fuzz-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    return folder


def tried(data: bytes) -> Attempt:
    """What becomes of some bytes of the fuzzer."""
    if not data:
        return Attempt("refused", "empty")
    kind = KINDS[data[0] % len(KINDS)]
    path = scratch_folder() / f"input{kind.suffix}"
    path.write_bytes(kind.content(data[1:]))
    return observed(kind.read, path)


def first_inputs() -> dict[str, bytes]:
    """Whole files of each kind, as the fuzzer's first inputs."""
    found: dict[str, bytes] = {}
    seeds = {1: scans.nifti(), 2: scans.itk(), 3: scans.itk(), 4: scans.archives(), 5: scans.slices()}
    for number, some in seeds.items():
        for seed in some:
            if (
                seed.target.endswith(KINDS[number].suffix)
                and len(seed.files) == 1
                and len(seed.files[seed.target]) < 9999
            ):
                found[f"{number}-{seed.name}"] = bytes([number]) + seed.files[seed.target]
    for seed in scans.slices():
        data = pydicom.dcmread(io.BytesIO(seed.files[seed.target]))
        if "JPEGLossless" in seed.name or "Extended" in seed.name:
            found[f"0-{seed.name}"] = b"\0" + get_frame(data.PixelData, 0, number_of_frames=1)
    return found


def packed(corpus: Path, faults: Path, archive: Path, most: int = 190_000) -> None:
    """Write what were faults, and of each kind the smallest inputs in turn, into an archive of so many bytes."""
    once = sorted(path for path in faults.iterdir() if path.with_suffix(".txt").is_file() and path.suffix != ".txt")
    found = sorted((path for path in corpus.iterdir() if path.stat().st_size > 1), key=lambda path: path.stat().st_size)
    kinds = [[path for path in found if path.read_bytes()[0] % len(KINDS) == kind] for kind in range(len(KINDS))]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for count, path in enumerate((*once, *filter(None, chain.from_iterable(zip_longest(*kinds))))):
            if file.fp is None or file.fp.tell() > most - 150 * count:  # its directory comes at the end
                break
            file.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
