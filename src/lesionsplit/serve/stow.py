"""What arrives by STOW-RS: the parts of a request, each written to a file as it comes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import pydicom
from pydicom.dataset import Dataset
from python_multipart.multipart import MultipartParser

from lesionsplit.errors import DataError
from lesionsplit.serve.instances import ConflictError, IgnoredError, NoRoomError, Store
from lesionsplit.serve.metrics import Metrics

BOUNDARY: Final = re.compile(r'boundary="?([^";,\s]{1,200})"?')

OUT_OF_RESOURCES: Final = 0xA700
CANNOT_UNDERSTAND: Final = 0xC000
CONFLICT: Final = 0x0111


class TooLargeError(DataError):
    """A request is larger than allowed."""


@dataclass(slots=True)
class Parts:
    """Writes each part of a multipart request to a file of a folder."""

    folder: Path
    paths: list[Path] = field(default_factory=list)
    _file: BinaryIO | None = None

    def on_part_begin(self) -> None:
        """Begin a file."""
        path = self.folder / str(len(self.paths))
        self.paths.append(path)
        self._file = path.open("wb")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Write on."""
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])

    def on_part_end(self) -> None:
        """End a file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def boundary(content_type: str) -> str:
    """What separates the parts of a request.

    Raises:
        DataError: it is not a multipart request of DICOM files.
    """
    found = BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/related") or not found or "dicom+" in content_type:
        raise DataError("give multipart/related; type=application/dicom with a boundary")
    return found[1]


async def receive(stream: AsyncIterator[bytes], separator: str, folder: Path, largest: int, store: Store) -> list[Path]:
    """Write the parts of a request to files.

    Raises:
        DataError: it is not multipart, or ends too early.
        TooLargeError: it has more than ``largest`` bytes.
        NoRoomError: the disk is full.
    """
    parts = Parts(folder)
    parser = MultipartParser(
        separator.encode(),
        {
            "on_part_begin": parts.on_part_begin,
            "on_part_data": parts.on_part_data,
            "on_part_end": parts.on_part_end,
        },
    )
    size = 0
    try:
        async for piece in stream:
            size += len(piece)
            if size > largest:
                raise TooLargeError(f"is larger than {largest >> 20} MB, which largest_request_mb allows")
            if size % (64 << 20) < len(piece):
                store.check_room()
            parser.write(piece)
        parser.finalize()
    except DataError:
        raise
    except OSError as error:
        raise NoRoomError(f"cannot be written ({error.strerror})") from None
    except Exception as error:  # the parser's own kinds
        raise DataError(f"is not a whole multipart request ({type(error).__name__})") from None
    finally:
        parts.on_part_end()
    return parts.paths


def store_all(paths: list[Path], store: Store, metrics: Metrics) -> tuple[int, dict[str, Any]]:
    """Take in DICOM files; returns the HTTP status and the answer of the standard as JSON."""
    taken: list[Dataset] = []
    failed: list[Dataset] = []
    for path, outcome, reason in _each(paths, store):
        metrics.arrived(outcome)
        item = _reference(path)
        if reason:
            item.FailureReason = reason
            failed.append(item)
        else:
            taken.append(item)
    answer = Dataset()
    if taken:
        answer.ReferencedSOPSequence = taken
    if failed:
        answer.FailedSOPSequence = failed
    status = 200 if not failed else 202 if taken else 409
    if not paths:
        status = 400
    elif failed and all(item.FailureReason == OUT_OF_RESOURCES for item in failed) and not taken:
        status = 507
    return status, answer.to_json_dict()


def _each(paths: list[Path], store: Store) -> Iterator[tuple[Path, str, int]]:
    for path in paths:
        try:
            with path.open("rb") as content:
                store.add(content, sender="http")
        except IgnoredError:  # noqa: PERF203  one answer for each part
            yield path, "ignored", 0
        except ConflictError:
            yield path, "conflict", CONFLICT
        except NoRoomError:
            yield path, "no room", OUT_OF_RESOURCES
        except DataError:
            yield path, "refused", CANNOT_UNDERSTAND
        else:
            yield path, "stored", 0


def _reference(path: Path) -> Dataset:
    item = Dataset()
    try:
        header = pydicom.dcmread(BytesIO(path.read_bytes()), stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
        item.ReferencedSOPClassUID = header.file_meta.MediaStorageSOPClassUID
        item.ReferencedSOPInstanceUID = str(header.SOPInstanceUID)
    except Exception:  # not DICOM: the answer names what it can
        return item
    return item
