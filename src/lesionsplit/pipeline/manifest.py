"""manifest.json: how the results of a case were made, and so whether a second call may keep them."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.resources import as_file
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from lesionsplit.csvtext import printable
from lesionsplit.errors import DataError
from lesionsplit.images import write_bytes
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.cases import Case
from lesionsplit.io.label_maps import label_map
from lesionsplit.lungs.network import DEFAULT as LUNG_WEIGHTS
from lesionsplit.models.card import digest
from lesionsplit.pipeline.case_folder import MANIFEST, DamagedManifestError, Manifest, read_manifest
from lesionsplit.pipeline.case_table import INCOMPLETE
from lesionsplit.pipeline.fingerprint import content, files_of, fingerprint, state
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.volume_result import VolumeResult

LIBRARIES: Final = ("onnxruntime", "numpy", "scipy", "nibabel", "SimpleITK", "pydicom", "highdicom")


class _Stamp(NamedTuple):
    """What tells whether the files of a case have changed."""

    fingerprint: str
    state: str
    label_maps: str


class Manifests:
    """The manifests below a folder of results, compared with the present options.

    A case is identified by its files (`fingerprint`), not by its name, so it keeps its folder in later calls.
    """

    def __init__(self, out: Path, predictor: Predictor, options: PredictOptions) -> None:
        self.out = out
        self.weights = predictor.weights
        self._card = predictor.slices.card
        self._threshold_from = predictor.slices.threshold_from
        self._engine = predictor.slices.engine.name
        self._options = options
        self._masked = options.deidentified
        self._asked = {
            "lesionsplit": version("lesionsplit"),
            "weights": self.weights,
            "threshold": predictor.threshold,
            "intensity": options.intensity,
            "force": options.force,
            "lungs": "given" if options.lungs is not None else options.lung_method or "network",
            "lung weights": _lung_weights(options),
            "lobes": "given" if options.lobes is not None else None,
            "measurements": json.loads(msgspec.json.encode(options.measurements)),
            "outputs": list(options.kinds),
            "all_findings": options.all_findings,
            "omit_empty_frames": options.omit_empty_frames,
            "deidentify": self._masked,
        }
        self._known: dict[str, Manifest] = {}
        self._damaged: dict[str, DamagedManifestError] = {}
        self._read_all()
        self._by_print: dict[str, list[str]] = {}
        for name, known in self._known.items():
            if known.masked or not self._masked:
                self._by_print.setdefault(known.input.fingerprint, []).append(name)
        self._stamps: dict[str, _Stamp] = {}
        self._names: dict[str, str] = {}

    def name(self, case: Case) -> str:
        """The name of a case's folder and table row; of a de-identified case a pseudonym derived from its files."""
        key = _key(case)
        if key not in self._names:
            self._names[key] = self._find_name(case)
        return self._names[key]

    def _find_name(self, case: Case) -> str:
        """The folder that an earlier call gave to a case, otherwise its own name.

        Different scans may have equal fingerprints: files of one name, size and time in different folders.
        """
        stamp = self._stamp(case)
        found = {name: self._known[name].input for name in self._by_print.get(stamp.fingerprint, ())}
        own = f"case-{stamp.fingerprint[:8]}" if self._masked else case.name
        same = [name for name, known in found.items() if known.state == stamp.state]
        same += [name for name, known in found.items() if known.path == _place(case)]
        if same:
            return same[0]
        if found.keys() - {own}:  # moved or copied: its content tells
            sha256 = content(files_of(case.entries))
            same = [name for name, known in found.items() if known.sha256 == sha256]
        return same[0] if same else own

    def has(self, case: Case, *, overwrite: bool) -> bool:
        """Whether a case is done with the same options and unchanged files.

        Raises:
            DamagedManifestError: nothing is known of what its folder holds.
            DataError: it was done with other options, or the folder holds the results of another scan.
        """
        name = self.name(case)
        if overwrite:
            return False
        if name in self._damaged:
            raise self._damaged[name]
        known = self._known.get(name)
        return (
            known is not None and not known.unfinished and self._unchanged(case, known) and self._complete(name, known)
        )

    def check(self, case: Case) -> None:
        """Check that no other process has meanwhile put something else into a case's folder.

        Raises:
            DataError: it has.
        """
        name = self.name(case)
        found = read_manifest(self.out / name / MANIFEST)
        if found is not None and not found.unfinished and found != self._known.get(name):
            self._unchanged(case, found)

    def _unchanged(self, case: Case, known: Manifest) -> bool:
        """Whether a manifest is of the same files.

        Raises:
            DataError: it is of other options, or of another scan.
        """
        folder, stamp = self.out / self.name(case), self._stamp(case)
        # Different files may be of one name, size and time: then their content tells.
        alike = known.input.fingerprint == stamp.fingerprint and (
            known.input.state == stamp.state or known.input.sha256 == content(files_of(case.entries))
        )
        if not alike and known.input.path != _place(case):
            raise DataError(
                f"{folder}: holds results of another scan, {known.input.path or 'de-identified'}; choose another "
                "folder, or --overwrite"
            )
        changed = [key for key, value in self._asked.items() if known.settings.get(key) != value]
        if changed:
            raise DataError(
                f"{folder}: holds results made with different settings: {', '.join(changed)}; choose another folder, "
                "or --overwrite"
            )
        return alike and known.input.label_maps == stamp.label_maps

    def _complete(self, name: str, known: Manifest) -> bool:
        """Whether all files of a case are there."""
        files = [self.out / name / file for file in known.files]
        return known.row.get("status") != INCOMPLETE and all(file.is_file() for file in files)

    def row(self, case: Case) -> dict[str, str]:
        """The table row of a case that is done."""
        return self._known[self.name(case)].row

    def others(self, names: Collection[str]) -> Iterator[dict[str, str]]:
        """The table rows of cases that earlier calls did in this folder; de-identified ones only, if this call is."""
        for name, known in self._known.items():
            if name not in names and not known.unfinished and (known.masked or not self._masked):
                yield known.row | {"name": name}

    def write(
        self, folder: Path, case: Case, result: VolumeResult, seconds: Mapping[str, float], cells: Mapping[str, str]
    ) -> None:
        """Write the manifest into ``folder``, which has all other files already: the case is done.

        ``cells`` is its row in the table; its status says whether files are missing.
        """
        volume = result.decomposed.volume
        stamp = self._stamp(case)
        given: dict[str, Any] = {
            "kind": volume.source.kind,
            "fingerprint": stamp.fingerprint,
            "state": stamp.state,
            "sha256": _content(files_of(case.entries), stamp.state),
            "label maps": stamp.label_maps,
            "files": len(case.entries),
            "shape": list(volume.shape),
            "affine": np.round(volume.affine, 6).tolist(),
            "intensity": volume.intensity,
            "notes": list(result.notes),
        }
        if not self._masked:
            given["path"] = _place(case)
            given["made"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
            if volume.source.instances:
                given |= _uids(volume.source.instances)
        manifest = {
            "settings": self._asked,
            "threshold from": self._threshold_from,
            "trained": self._card.trained,
            "engine": self._engine,
            "lungs from": result.decomposed.lungs_from,
            "input": given,
            "files": sorted(file.name for file in folder.iterdir()),
            "seconds": dict(seconds),
            "python": platform.python_version(),
            "libraries": {name: version(name) for name in LIBRARIES},
            "row": dict(cells),
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        write_bytes(folder / MANIFEST, text.encode())

    def _read_all(self) -> None:
        """Read the existing manifests, by the name of their folder."""
        for folder in sorted(self.out.iterdir()) if self.out.is_dir() else ():
            if folder.name.startswith("."):  # what another process is writing
                continue
            try:
                found = read_manifest(folder / MANIFEST)
            except DamagedManifestError as error:  # of interest only if a case has this name
                self._damaged[folder.name] = error
                continue
            if found is not None:
                self._known[folder.name] = found

    def _stamp(self, case: Case) -> _Stamp:
        """What tells whether a case's files have changed, at the time of the first call: before they are read."""
        key = _key(case)
        if key not in self._stamps:
            self._stamps[key] = _Stamp(fingerprint(case.entries), state(files_of(case.entries)), self._label_maps(case))
        return self._stamps[key]

    def _label_maps(self, case: Case) -> str:
        """The content of the user's label maps of a case."""
        given = (self._options.lungs, self._options.lobes)
        maps = [file for one in given if isinstance(one, Path) and (file := label_map(one, case.name))]
        return content(file for one in maps for file in files_of([FileEntry(one)])) if maps else ""


def _key(case: Case) -> str:
    return f"{case.where}\0{case.name}"


def _place(case: Case) -> str:
    return printable(str(case.path.resolve()))


def _content(files: Sequence[Path], before: str) -> str:
    """The content of files if they are still those that were read; empty if it will never be known."""
    with suppress(OSError):
        return content(files) if state(files) == before else ""
    return ""


def _lung_weights(options: PredictOptions) -> str | None:
    """SHA-256 of the network that finds the lungs, if one does."""
    if options.lungs is not None or options.lung_method == "thresholds":
        return None
    if options.lung_method == "lungmask":
        file = options.lungmask_weights
        return digest(file) if file is not None and file.is_file() else None
    with as_file(LUNG_WEIGHTS) as path:
        return digest(path)


def _uids(instances: Sequence[Any]) -> dict[str, Any]:
    first = instances[0]
    return {
        "StudyInstanceUID": str(first.get("StudyInstanceUID", "")),
        "SeriesInstanceUID": str(first.get("SeriesInstanceUID", "")),
        "SOPInstanceUIDs": [str(one.get("SOPInstanceUID", "")) for one in instances],
    }
