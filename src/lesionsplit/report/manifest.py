"""manifest.json: what made a case's results, and so whether they are still those that are asked for."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from lesionsplit.cases.find import Case
from lesionsplit.errors import DataError
from lesionsplit.images import write_bytes
from lesionsplit.model import digest
from lesionsplit.predictor import Predictor
from lesionsplit.report.settings import VolumeSettings
from lesionsplit.volumes.findings import Findings

MANIFEST = "manifest.json"
"""Written last: where it is, a case is done."""

LIBRARIES: Final = ("torch", "numpy", "scipy", "nibabel", "SimpleITK", "pydicom", "highdicom")


class Manifests:
    """The manifests below a folder of results, and what those that are asked for would say."""

    def __init__(self, out: Path, predictor: Predictor, weights: Path | None, settings: VolumeSettings) -> None:
        self.out = out
        self.weights = digest(weights)
        self._card = predictor.model.card
        self._masked = settings.outputs.pseudonyms is not None
        self._asked = {
            "lesionsplit": version("lesionsplit"),
            "weights": self.weights,
            "threshold": predictor.threshold,
            "intensity": settings.intensity,
            "force": settings.force,
            "lungs": _given(settings.lungs, self._masked) or settings.lung_method,
            "lobes": _given(settings.lobes, self._masked),
            "measures": json.loads(msgspec.json.encode(settings.measures)),
            "outputs": list(settings.outputs.kinds),
            "omit_empty_frames": settings.outputs.omit_empty_frames,
            "deidentify": self._masked,
        }

    def name(self, case: Case) -> str:
        """Of a case's folder and in tables; of a case that nobody is to recognise, one that its files give it."""
        return f"case-{_fingerprint(_files(case))[:8]}" if self._masked else case.name

    def has(self, case: Case) -> bool:
        """Whether a case is done, with what is asked for, and its files were not changed since.

        Raises:
            DataError: it is done with something else.
        """
        known = self._read(self.out / self.name(case))
        if known is None:
            return False
        before = known.get("settings", {})
        changed = [key for key, value in self._asked.items() if before.get(key) != value]
        if changed:
            raise DataError(
                f"{self.out / self.name(case)}: holds results with another {' and '.join(changed)}; choose another "
                "folder, or --overwrite"
            )
        whole = all((self.out / self.name(case) / file).is_file() for file in known.get("files", []))
        return whole and known.get("input", {}).get("fingerprint") == _fingerprint(_files(case))

    def row(self, case: Case) -> dict[str, str]:
        """The line in the table of a case that is done."""
        known = self._read(self.out / self.name(case)) or {}
        return dict(known.get("row", {}))

    def others(self, names: Sequence[str]) -> Iterator[dict[str, str]]:
        """The lines of cases that earlier calls have done in the same folder."""
        for folder in sorted(self.out.iterdir()) if self.out.is_dir() else ():
            if folder.name not in names and (known := self._read(folder)):
                yield dict(known.get("row", {"name": folder.name}))

    def provenance(self, findings: Findings) -> dict[str, str]:
        """How a result came about, for people."""
        volume = findings.volume
        voxels = " x ".join(map(str, volume.shape))
        spacing = " x ".join(f"{mm:.3g}" for mm in volume.spacing)
        return {
            "Software": f"lesionsplit {version('lesionsplit')}",
            "Weights (SHA-256)": self.weights,
            "Learnt from": self._card.trained.get("supervision", "not said"),
            "Threshold": f"{findings.threshold:.3g}: {self._card.threshold_from}"
            if findings.threshold == self._card.threshold
            else f"{findings.threshold:.3g}, as given",
            "Lungs": findings.lungs_from,
            "Read from": volume.source.kind,
            "Grid": f"{voxels} voxels of {spacing} mm",
        }

    def write(
        self,
        folder: Path,
        case: Case,
        findings: Findings,
        files: Sequence[str],
        seconds: Mapping[str, float],
        row: Mapping[str, str],
    ) -> None:
        """Say in ``folder`` that a case is done."""
        volume = findings.volume
        given: dict[str, Any] = {
            "kind": volume.source.kind,
            "fingerprint": _fingerprint(_files(case)),
            "files": len(_files(case)),
            "shape": list(volume.shape),
            "affine": np.round(volume.affine, 6).tolist(),
            "intensity": volume.intensity,
            "notes": [*volume.source.notes, *findings.notes],
        }
        if not self._masked:
            given["path"] = str(case.path.resolve())
            given["made"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
            if volume.source.instances:
                given |= _uids(volume.source.instances)
        manifest = {
            "settings": self._asked,
            "threshold from": self._card.threshold_from,
            "trained": self._card.trained,
            "lungs from": findings.lungs_from,
            "input": given,
            "files": list(files),
            "seconds": dict(seconds),
            "python": platform.python_version(),
            "libraries": {name: version(name) for name in LIBRARIES},
            "row": dict(row),
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        write_bytes(folder / MANIFEST, text.encode())

    def _read(self, folder: Path) -> dict[str, Any] | None:
        """A manifest; None where there is none."""
        path = folder / MANIFEST
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise DataError(f"{path}: is not a manifest of ours; choose another folder")
        return found


@contextmanager
def whole_or_not(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` to write to, whose files are moved there in the end, the manifest last.

    If anything goes wrong, ``folder`` stays as it was; what else is in it, corrected masks say, is not touched.
    """
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        yield beside
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        for file in sorted(beside.iterdir(), key=lambda file: file.name == MANIFEST):
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _given(path: Path | None, masked: bool) -> str | None:
    """Files that the user gives, by their name; by nothing but that they were given where names may tell."""
    if path is None:
        return None
    return "given" if masked else str(path.resolve())


def _files(case: Case) -> list[Path]:
    return sorted({entry.path for entry in case.entries})


def _fingerprint(files: Sequence[Path]) -> str:
    """Of a case's files by name, size and time of change, without their folder."""
    stamp = hashlib.sha256()
    for file in files:
        facts = file.stat()
        stamp.update(f"{file.name}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return stamp.hexdigest()


def _uids(instances: Sequence[Any]) -> dict[str, Any]:
    first = instances[0]
    return {
        "StudyInstanceUID": str(first.get("StudyInstanceUID", "")),
        "SeriesInstanceUID": str(first.get("SeriesInstanceUID", "")),
        "SOPInstanceUIDs": [str(one.get("SOPInstanceUID", "")) for one in instances],
    }
