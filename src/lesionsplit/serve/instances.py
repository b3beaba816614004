"""The files of a node: slices that arrive, and results. No name in the store comes from what was sent."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from lesionsplit.atomic import PREFIX, sweep, temporary_folder
from lesionsplit.csvtext import printable
from lesionsplit.errors import DataError
from lesionsplit.serve.jobs import Job, Jobs, State

CT: Final = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
)
SUFFIX: Final = ".dcm"
UID_TEXT: Final = re.compile(r"[0-9]+(\.[0-9]+)*")

SHOWN: Final = {
    "patient": "PatientName",
    "patient_id": "PatientID",
    "accession": "AccessionNumber",
    "study": "StudyInstanceUID",
    "date": "StudyDate",
    "description": "SeriesDescription",
    "study_description": "StudyDescription",
    "modality": "Modality",
    "kernel": "ConvolutionKernel",
    "thickness": "SliceThickness",
    "number": "SeriesNumber",
}


class NoRoomError(DataError):
    """The disk is full, or nearly."""


class ConflictError(DataError):
    """Two different objects have one SOPInstanceUID."""


class IgnoredError(DataError):
    """The object is not a CT image: nothing is wrong, and nothing is kept."""


@dataclass(frozen=True, slots=True)
class Folder:
    """What is known of a series' folder."""

    files: dict[str, str]
    """SHA-256 of each file's data set, by name."""

    slices: dict[str, int]


class Store:
    """Slices by series, results by job; the folder is open to the node's user only."""

    def __init__(self, root: Path, jobs: Jobs, *, min_free: float) -> None:
        """``min_free``: bytes that stay free."""
        self.root, self.jobs, self.min_free = root, jobs, min_free
        self._lock = threading.Lock()
        self._known: dict[str, Folder] = {}
        for folder in (self.arriving, self.root / "series", self.root / "results"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sweep(folder, again=True)

    @property
    def arriving(self) -> Path:
        """Where files are written before they have their place."""
        return self.root / "arriving"

    def series(self, series: str) -> Path:
        """The folder of a series' slices."""
        return self.root / "series" / _name(series)

    def result(self, job: Job) -> Path:
        """The folder of a job's result."""
        return self.root / "results" / str(job.number)

    def free(self) -> int:
        """Bytes that are free."""
        return shutil.disk_usage(self.root).free

    @property
    def has_room(self) -> bool:
        """Whether slices are accepted."""
        return self.free() >= self.min_free

    def check_room(self) -> None:
        """Refuse what arrives if the disk is nearly full.

        Raises:
            NoRoomError: it is.
        """
        if not self.has_room:
            raise NoRoomError(f"less than {self.min_free / 1e9:g} GB are free; free some space, or lower min_free_gb")

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """A folder of what arrives; removed when the block ends."""
        try:
            with temporary_folder(self.arriving) as folder:
                yield folder
        except OSError as error:
            raise NoRoomError(f"cannot be written ({error.strerror or error})") from None

    def add(self, content: IO[bytes], *, sender: str, expected: str = "") -> Job:
        """Take in a DICOM file; the same again is a success.

        Args:
            content: a DICOM file with its header, open for reading.
            sender: AE title, or ``http``.
            expected: SOPInstanceUID that the sender announced; empty if none was.

        Raises:
            IgnoredError: it is no CT image.
            ConflictError: another object has its SOPInstanceUID; the series is quarantined.
            NoRoomError: the disk is full.
            DataError: it is not a DICOM file, or its identifiers are missing or not valid.
        """
        self.check_room()
        header = _header(content)
        series, instance = _uid(header, "SeriesInstanceUID"), _uid(header, "SOPInstanceUID")
        _uid(header, "StudyInstanceUID")
        if expected and instance != expected:
            raise DataError("its SOPInstanceUID is not the one that was announced")
        digest = _digest(content, header)
        name = _name(instance) + SUFFIX
        with self.temporary() as folder:
            written = folder / name
            with written.open("wb") as file:
                content.seek(0)
                shutil.copyfileobj(content, file, 1 << 20)
            with self._lock:
                self._place(written, series, name, digest)
                return self._arrived(series, name, digest, header, sender)

    def add_file(self, path: Path, *, sender: str, title: str) -> Job:
        """Take in a volume that is not DICOM: a series of its own; the same file again is the same series."""
        self.check_room()
        digest = _sha(path)
        series = f"upload-{digest[:32]}"
        with self._lock:
            folder = self.series(series)
            name = f"scan{''.join(path.suffixes)[-8:].lower()}"
            if not (folder / name).exists():
                folder.mkdir(mode=0o700, exist_ok=True)
                path.replace(folder / name)
            job = self.jobs.latest(series)
            if job is not None and job.state not in (State.FAILED, State.CANCELLED):
                return job
            header = {"description": printable(title)[:64], "modality": "file"}
            return self.jobs.arrive(series, instances=1, slices=0, header=header, sender=sender)

    def reconcile(self) -> None:
        """Take up slices that were written just before a node stopped, and that no job counts."""
        for folder in (self.root / "series").iterdir():
            if folder.name.startswith(PREFIX) or not (paths := sorted(folder.glob(f"*{SUFFIX}"))):
                continue
            with paths[-1].open("rb") as content:
                header = _header(content)
                series = str(header.SeriesInstanceUID)
                job = self.jobs.latest(series)
                if job is None or job.instances != len(paths):
                    self._arrived(series, paths[-1].name, _digest(content, header), header, job.sender if job else "")

    def fingerprint(self, series: str, *more: str) -> str:
        """SHA-256 of a series' files and of what else decides about its result."""
        found = hashlib.sha256()
        for path in sorted(self.series(series).iterdir()):
            found.update(f"{path.name} {_data_digest(path)}\n".encode())
        for part in more:
            found.update(f"{part}\n".encode())
        return found.hexdigest()

    def remove(self, job: Job, *, slices: bool) -> None:
        """Delete a job's result and, unless a newer job needs them, its slices."""
        shutil.rmtree(self.result(job), ignore_errors=True)
        if slices:
            with self._lock:
                self._known.pop(job.series, None)
                shutil.rmtree(self.series(job.series), ignore_errors=True)

    def _place(self, written: Path, series: str, name: str, digest: str) -> None:
        """Give a written file its place, unless it is there already."""
        path = self.series(series) / name
        if path.exists():
            if digest == self._folder(series).files.get(name) or _same(path, written):
                return
            reason = "two different objects have the same SOPInstanceUID; the first one was kept"
            if job := self.jobs.latest(series):
                self.jobs.move(job.number, [job.state], State.QUARANTINED, reason=reason)
            raise ConflictError(reason)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        written.replace(path)

    def _arrived(self, series: str, name: str, digest: str, header: Dataset, sender: str) -> Job:
        """Count a file that has its place; nothing changes if its job counts it already."""
        folder = self._folder(series)
        folder.files[name] = digest
        folder.slices[name] = int(header.get("NumberOfFrames") or 1)
        job = self.jobs.latest(series)
        if job is not None and job.instances == len(folder.files) and job.state != State.CANCELLED:
            return job
        return self.jobs.arrive(
            series,
            instances=len(folder.files),
            slices=sum(folder.slices.values()),
            header=_shown(header),
            sender=sender,
        )

    def _folder(self, series: str) -> Folder:
        """What is in a series' folder; read from the disk the first time."""
        if series not in self._known:
            folder = Folder({}, {})
            for path in self.series(series).glob(f"*{SUFFIX}"):
                with path.open("rb") as content:
                    header = _header(content)
                    folder.files[path.name] = _digest(content, header)
                    folder.slices[path.name] = int(header.get("NumberOfFrames") or 1)
            if len(self._known) > 1000:
                self._known.clear()
            self._known[series] = folder
        return self._known[series]


def _name(identifier: str) -> str:
    """A file name for an identifier: of hexadecimal digits only."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:32]


def _header(content: IO[bytes]) -> Dataset:
    """The header of a DICOM file of a CT image."""
    content.seek(0)
    try:
        header = pydicom.dcmread(content, stop_before_pixels=True)
        kind = str(header.get("SOPClassUID", ""))
    except Exception as error:  # pydicom raises errors of many types
        raise DataError(f"is not a DICOM file ({type(error).__name__})") from None
    if kind not in CT:
        raise IgnoredError(f"is not a CT image but {UID(kind).name or 'of no SOP class'}")
    return header


def _uid(header: Dataset, keyword: str) -> str:
    text = str(header.get(keyword) or "")
    if len(text) > 64 or not UID_TEXT.fullmatch(text):
        raise DataError(f"{keyword} is missing or not valid")
    return text


def _digest(content: IO[bytes], header: Dataset) -> str:
    """SHA-256 of the data set, without the file's own header, which each sender writes anew; and its encoding."""
    content.seek(0)
    start = content.read(144)
    skip = 0
    if start[128:138] == b"DICM\2\0\0\0UL":
        skip = 144 + int.from_bytes(start[140:144], "little")
    found = hashlib.sha256(str(header.file_meta.get("TransferSyntaxUID", "")).encode())
    content.seek(skip)
    while part := content.read(1 << 20):
        found.update(part)
    return found.hexdigest()


def _data_digest(path: Path) -> str:
    with path.open("rb") as content:
        return _digest(content, _header(content)) if path.suffix == SUFFIX else _sha(path)


def _sha(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha_of(file)


def _sha_of(file: IO[bytes]) -> str:
    found = hashlib.sha256()
    while part := file.read(1 << 20):
        found.update(part)
    return found.hexdigest()


def _same(one: Path, other: Path) -> bool:
    """Whether two files hold the same object, perhaps encoded in two ways."""
    try:
        first, second = pydicom.dcmread(one), pydicom.dcmread(other)
        if (first.pixel_array != second.pixel_array).any():
            return False
        for dataset in (first, second):
            for keyword in ("PixelData", "LossyImageCompression"):
                if keyword in dataset:
                    del dataset[keyword]
        return bool(first == second)
    except Exception:  # cannot be decoded, so nobody can tell
        return False


def _shown(header: Dataset) -> dict[str, str]:
    found: dict[str, Any] = {name: header.get(keyword) for name, keyword in SHOWN.items()}
    return {name: printable(str(value).strip())[:128] for name, value in found.items() if value not in (None, "")}


def file_of(dataset: bytes, meta: bytes = b"") -> BytesIO:
    """A DICOM file in memory."""
    return BytesIO(meta + dataset)


def private(path: Path) -> None:
    """Make a folder that its owner only can open.

    Raises:
        DataError: it belongs to another user, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if hasattr(os, "geteuid") and path.stat().st_uid != os.geteuid():
            raise DataError(f"{path}: belongs to another user; choose another folder for [store] path")
        path.chmod(0o700)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
