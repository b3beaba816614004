"""What arrives by STOW-RS: the parts of a request, checked before anything of usual size touches the disk."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final

import pydicom
from pydicom.dataset import Dataset
from python_multipart.multipart import MultipartParser
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from lesionsplit.errors import DataError
from lesionsplit.serve.instances import ConflictError, IgnoredError, NoRoomError, Store
from lesionsplit.serve.metrics import Metrics

BOUNDARY: Final = re.compile(r'boundary="?([^";,\s]{1,200})"?')

OUT_OF_RESOURCES: Final = 0xA700
CANNOT_UNDERSTAND: Final = 0xC000
CONFLICT: Final = 0x0111


class TooLargeError(DataError):
    """A request is larger than allowed."""


IN_MEMORY: Final = 16 << 20
"""Bytes of a part that stay in memory; larger ones lie in the folder of what arrives."""


@dataclass(slots=True)
class Taking:
    """Takes in each part of a multipart request when it is whole."""

    store: Store
    metrics: Metrics
    folder: Path
    taken: list[Dataset] = field(default_factory=list)
    failed: list[Dataset] = field(default_factory=list)
    _part: SpooledTemporaryFile[bytes] | None = None

    def on_part_begin(self) -> None:
        """Begin a part."""
        self._part = SpooledTemporaryFile(IN_MEMORY, dir=str(self.folder))  # noqa: SIM115  closed at its end

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Keep some of it."""
        if self._part is not None:
            self._part.write(data[start:end])

    def on_part_end(self) -> None:
        """Check it and take it in."""
        if self._part is None:
            return
        with self._part as content:
            self._part = None
            outcome, reason = _take(content, self.store)
            self.metrics.arrived(outcome)
            item = _reference(content)
        if reason:
            item.FailureReason = reason
            self.failed.append(item)
        else:
            self.taken.append(item)

    def close(self) -> None:
        """Drop a part that is not whole."""
        if self._part is not None:
            self._part.close()

    def answer(self) -> tuple[int, dict[str, Any]]:
        """The HTTP status, and the answer of the standard as JSON."""
        answer = Dataset()
        if self.taken:
            answer.ReferencedSOPSequence = self.taken
        if self.failed:
            answer.FailedSOPSequence = self.failed
        if not self.failed:
            status = 200 if self.taken else 400
        elif self.taken:
            status = 202
        else:
            full = all(item.FailureReason == OUT_OF_RESOURCES for item in self.failed)
            status = 507 if full else 409
        return status, answer.to_json_dict()


def boundary(content_type: str) -> str:
    """What separates the parts of a request.

    Raises:
        DataError: it is not a multipart request of DICOM files.
    """
    found = BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/related") or not found or "dicom+" in content_type:
        raise DataError("give multipart/related; type=application/dicom with a boundary")
    return found[1]


async def receive(stream: AsyncIterator[bytes], separator: str, taking: Taking, largest: int) -> None:
    """Read a request to its end.

    Raises:
        DataError: it is not multipart, or ends too early.
        TooLargeError: it has more than ``largest`` bytes.
        NoRoomError: the disk is full.
    """
    parser = MultipartParser(
        separator.encode(),
        {
            "on_part_begin": taking.on_part_begin,
            "on_part_data": taking.on_part_data,
            "on_part_end": taking.on_part_end,
        },
    )
    size = 0
    try:
        async for piece in stream:
            size += len(piece)
            if size > largest:
                raise TooLargeError(f"is larger than {largest >> 20} MB, which largest_request_mb allows")
            await run_in_threadpool(parser.write, piece)
        parser.finalize()
    except (DataError, ClientDisconnect):
        raise
    except OSError as error:
        raise NoRoomError(f"cannot be written ({error.strerror})") from None
    except Exception as error:  # the parser's own kinds
        raise DataError(f"is not a whole multipart request ({type(error).__name__})") from None
    finally:
        taking.close()


def _take(content: IO[bytes], store: Store) -> tuple[str, int]:
    """Take in one part; returns the outcome for the metrics, and the failure reason, 0 if there is none."""
    try:
        store.add(content, sender="http")
    except IgnoredError:
        return "ignored", 0
    except ConflictError:
        return "conflict", CONFLICT
    except NoRoomError:
        return "no room", OUT_OF_RESOURCES
    except DataError:
        return "refused", CANNOT_UNDERSTAND
    return "stored", 0


def _reference(content: IO[bytes]) -> Dataset:
    item = Dataset()
    try:
        content.seek(0)
        header = pydicom.dcmread(content, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
        item.ReferencedSOPClassUID = header.file_meta.MediaStorageSOPClassUID
        item.ReferencedSOPInstanceUID = str(header.SOPInstanceUID)
    except Exception:  # not DICOM: the answer names what it can
        return item
    return item
