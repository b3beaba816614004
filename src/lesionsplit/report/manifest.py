"""manifest.json: what made a case's results, and so whether they are still those that are asked for."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.resources import as_file
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from lesionsplit.cases.find import Case
from lesionsplit.errors import DataError, LesionsplitError
from lesionsplit.images import write_bytes
from lesionsplit.lungs.network import DEFAULT as LUNG_WEIGHTS
from lesionsplit.model import digest
from lesionsplit.predictor import Predictor
from lesionsplit.report.settings import VolumeSettings
from lesionsplit.volumes.archive import Entry
from lesionsplit.volumes.files import SUFFIXES
from lesionsplit.volumes.findings import Findings

MANIFEST = "manifest.json"
"""Written last: where it is, a case is done."""

LIBRARIES: Final = ("torch", "numpy", "scipy", "nibabel", "SimpleITK", "pydicom", "highdicom")


class Manifests:
    """The manifests below a folder of results, and what those that are asked for would say.

    A case is known by its files (`fingerprint`), not by its name: one that was done before keeps its folder,
    whatever it would be called beside others.
    """

    def __init__(self, out: Path, predictor: Predictor, weights: Path | None, settings: VolumeSettings) -> None:
        self.out = out
        self.weights = digest(weights)
        self._card = predictor.model.card
        self._engine = predictor.engine.name
        self._settings = settings
        self._masked = settings.outputs.pseudonyms is not None
        self._asked = {
            "lesionsplit": version("lesionsplit"),
            "weights": self.weights,
            "threshold": predictor.threshold,
            "intensity": settings.intensity,
            "force": settings.force,
            "lungs": "given" if settings.lungs else settings.lung_method,
            "lung weights": _lung_weights(settings),
            "lobes": "given" if settings.lobes else None,
            "measures": json.loads(msgspec.json.encode(settings.measures)),
            "outputs": list(settings.outputs.kinds),
            "omit_empty_frames": settings.outputs.omit_empty_frames,
            "deidentify": self._masked,
        }
        self._known = dict(self._read_all())
        self._prints: dict[str, str] = {}

    def name(self, case: Case) -> str:
        """Of a case's folder and in tables; of a case that nobody is to recognise, one that its files give it."""
        print_ = self._fingerprint(case)
        for name, known in self._known.items():
            if _input(known).get("fingerprint") == print_:
                return name
        return f"case-{print_[:8]}" if self._masked else case.name

    def has(self, case: Case, *, overwrite: bool) -> bool:
        """Whether a case is done, with what is asked for, and its files were not changed since.

        Raises:
            DataError: it is done with something else, or another scan's results are where its own would go.
        """
        name = self.name(case)
        known = self._known.get(name)
        if known is None or overwrite:
            return False
        same = _input(known).get("fingerprint") == self._fingerprint(case)
        if not same and _input(known).get("path") != str(case.path.resolve()):
            raise DataError(
                f"{self.out / name}: holds results of another scan, {_input(known).get('path', 'de-identified')}; "
                "choose another folder, or --overwrite"
            )
        before = known.get("settings", {})
        changed = [key for key, value in self._asked.items() if before.get(key) != value]
        if changed:
            raise DataError(
                f"{self.out / name}: holds results with another {' and '.join(changed)}; choose another folder, or "
                "--overwrite"
            )
        same = same and _input(known).get("label maps") == self._label_maps(case)
        return same and all((self.out / name / file).is_file() for file in known.get("files", []))

    def row(self, case: Case) -> dict[str, str]:
        """The line in the table of a case that is done."""
        return dict(self._known[self.name(case)].get("row", {}))

    def others(self, names: Sequence[str]) -> Iterator[dict[str, str]]:
        """The lines of cases that earlier calls have done in the same folder; of such that name nobody, if masked."""
        for name, known in self._known.items():
            if name not in names and (known.get("settings", {}).get("deidentify") or not self._masked):
                yield dict(known.get("row", {"name": name}))

    def provenance(self, findings: Findings) -> dict[str, str]:
        """How a result came about, for people."""
        volume = findings.volume
        voxels = " x ".join(map(str, volume.shape))
        spacing = " x ".join(f"{mm:.3g}" for mm in volume.spacing)
        return {
            "Software": f"lesionsplit {version('lesionsplit')}",
            "Weights (SHA-256)": self.weights,
            "Run by": self._engine,
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
        seconds: Mapping[str, float],
        row: Mapping[str, str],
    ) -> None:
        """Say in ``folder``, which has all other files already, that a case is done."""
        volume = findings.volume
        given: dict[str, Any] = {
            "kind": volume.source.kind,
            "fingerprint": self._fingerprint(case),
            "label maps": self._label_maps(case),
            "files": len(case.entries),
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
            "engine": self._engine,
            "lungs from": findings.lungs_from,
            "input": given,
            "files": sorted(file.name for file in folder.iterdir()),
            "seconds": dict(seconds),
            "python": platform.python_version(),
            "libraries": {name: version(name) for name in LIBRARIES},
            "row": dict(row),
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        write_bytes(folder / MANIFEST, text.encode())

    def _read_all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The manifests that there are, by their folders' names."""
        for folder in sorted(self.out.iterdir()) if self.out.is_dir() else ():
            path = folder / MANIFEST
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError):
                found = None
            if not isinstance(found, dict) or "settings" not in found:
                raise DataError(f"{path}: is not a manifest of ours; choose another folder")
            yield folder.name, found

    def _fingerprint(self, case: Case) -> str:
        """Of a case's files, as they are when it is first asked for."""
        key = f"{case.where}\0{case.name}"
        if key not in self._prints:
            self._prints[key] = fingerprint(case.entries)
        return self._prints[key]

    def _label_maps(self, case: Case) -> str:
        """Of the lungs and lobes that are given with a case."""
        given = (self._settings.lungs, self._settings.lobes)
        maps = [file for one in given if one is not None and (file := label_map(one, case.name))]
        return fingerprint([Entry(file) for file in maps]) if maps else ""


def label_map(given: Path, name: str) -> Path | None:
    """The label map of a case: the file itself, or the one of the case's name in a folder, if there is one."""
    if not given.is_dir():
        return given
    return next((file for suffix in (*SUFFIXES, ".dcm") if (file := given / f"{name}{suffix}").is_file()), None)


def fingerprint(entries: Sequence[Entry]) -> str:
    """Tells a case by its files: by name, size and time of change, without their folders.

    What stands beside a file under the same name counts too: the voxels of a header, for one.
    """
    stamp = hashlib.sha256()
    files = {entry.path for entry in entries}
    if len(entries) == 1 and not entries[0].member:
        own = entries[0].path
        files |= {path for path in own.parent.glob(f"{glob.escape(own.name.split('.')[0])}.*") if path.is_file()}
    for file in sorted(files):
        facts = file.stat()
        stamp.update(f"{file.name}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    for entry in entries:
        stamp.update(f"{entry.member}\n".encode())
    return stamp.hexdigest()


@contextmanager
def whole_or_not(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` to write to, whose files are moved there in the end, the manifest last.

    If anything goes wrong, ``folder`` stays as it was; what else is in it, corrected masks say, is not touched.
    """
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        yield beside
        folder.mkdir(parents=True, exist_ok=True)
        _take_away(folder)
        for file in sorted(beside.iterdir(), key=lambda file: file.name == MANIFEST):
            file.replace(folder / file.name)
    except LesionsplitError as error:
        raise type(error)(str(error).replace(str(beside), str(folder))) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _take_away(folder: Path) -> None:
    """Remove what an earlier call has written, by its manifest: it would not belong to the new one."""
    try:
        before = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    (folder / MANIFEST).unlink()
    for name in before.get("files", []):
        if Path(name).name == name:
            (folder / name).unlink(missing_ok=True)


def _input(manifest: dict[str, Any]) -> dict[str, Any]:
    found = manifest.get("input", {})
    return found if isinstance(found, dict) else {}


def _lung_weights(settings: VolumeSettings) -> str | None:
    """SHA-256 of the network that finds the lungs, if one does."""
    if settings.lungs is not None or settings.lung_method == "thresholds":
        return None
    if settings.lung_method == "network":
        with as_file(LUNG_WEIGHTS) as path:
            return digest(path)
    return (
        digest(settings.lungmask_weights) if settings.lungmask_weights and settings.lungmask_weights.is_file() else None
    )


def _uids(instances: Sequence[Any]) -> dict[str, Any]:
    first = instances[0]
    return {
        "StudyInstanceUID": str(first.get("StudyInstanceUID", "")),
        "SeriesInstanceUID": str(first.get("SeriesInstanceUID", "")),
        "SOPInstanceUIDs": [str(one.get("SOPInstanceUID", "")) for one in instances],
    }
