"""predictions.csv: what was found in each slice, a row added when its images are all there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.images import write_bytes
from lesionsplit.predictor import Prediction

TABLE = "predictions.csv"
MANIFEST = "predictions.json"
COLUMNS = ("slice", "slice_score", "lesion_pixels", "share_of_lung")


def lungs_file(folder: Path, path: Path) -> Path:
    """Where the lungs of a slice are, as `lesionsplit lungs` names them."""
    return folder / f"{path.stem}_lungs.png"


def output_files(out: Path, path: Path) -> dict[str, Path]:
    """What is written for a slice."""
    return {kind: out / f"{path.stem}_{kind}.png" for kind in ("score", "mask", "healthy", "overlay")}


@dataclass
class PredictionTable:
    """predictions.csv: a row is added when a slice's images are all there, so that a rerun can go on."""

    out: Path
    lungs: Path | None = None
    """The folder with the slices' lungs, if they have any of their own."""
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    """By the slice's absolute path."""

    def begin(self, manifest: dict[str, str | float], paths: Sequence[Path], *, overwrite: bool) -> None:
        """Read the rows there are.

        Raises:
            DataError: they are of other weights, another threshold or other slices of the same names, or
                the table is not ours.
        """
        before = self.out / MANIFEST
        known = _read_manifest(before)
        self.rows = self._read()
        usual = {"lungs": "masked"}  # of tables from before there was another way
        keys = ("weights", "threshold", "lungs") if known and self.rows else ()
        changed = [key for key in keys if known.get(key, usual.get(key)) != manifest[key]]
        if changed and not overwrite:
            raise DataError(
                f"{self.out}: holds predictions with another {' and '.join(changed)}; choose another folder, or "
                "--overwrite"
            )
        taken = {Path(name).stem: name for name in self.rows}
        for path in paths:
            other = taken.get(path.stem, _key(path))
            if other != _key(path):
                raise DataError(
                    f"{self.out}: holds what was found in {other}, which is named as {path} is; choose another folder"
                )
        if changed:  # what other weights found must not be taken for what these find
            self.rows = {}
            (self.out / TABLE).unlink(missing_ok=True)
        write_bytes(before, (json.dumps(manifest, indent=2) + "\n").encode())

    def _read(self) -> dict[str, dict[str, str]]:
        path = self.out / TABLE
        if not path.is_file():
            return {}
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise DataError(f"{path}: is not a table of predictions; choose another folder")
            return {row["slice"]: row for row in reader if row[COLUMNS[-1]]}  # the last may be half a line

    def drop(self, path: Path) -> None:
        """Forget what was found in a slice that cannot be read any more."""
        if self.rows.pop(_key(path), None):
            for file in output_files(self.out, path).values():
                file.unlink(missing_ok=True)

    def has(self, path: Path) -> bool:
        """Whether a slice is done, and was not changed since."""
        files = list(output_files(self.out, path).values())
        if _key(path) not in self.rows or not path.is_file() or not all(file.is_file() for file in files):
            return False
        sources = [path] if self.lungs is None else [path, lungs_file(self.lungs, path)]
        if not all(source.is_file() for source in sources):
            return False
        return min(map(_changed, files)) >= max(map(_changed, sources))

    def add(self, path: Path, prediction: Prediction) -> None:
        """Add a slice whose images have been written."""
        values = (
            _key(path),
            f"{prediction.slice_score:.5f}",
            str(np.count_nonzero(prediction.mask)),
            f"{prediction.share_of_lung:.5f}",
        )
        self.rows[_key(path)] = dict(zip(COLUMNS, values, strict=True))
        new = not (self.out / TABLE).is_file()
        with (self.out / TABLE).open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(self.rows[_key(path)])

    def finish(self, paths: Sequence[Path]) -> None:
        """Write the table anew: this call's slices in their order, then those of earlier calls."""
        order = dict.fromkeys([*map(_key, paths), *self.rows])
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[name] for name in order if name in self.rows)
        write_bytes(self.out / TABLE, text.getvalue().encode())


def _changed(file: Path) -> int:
    return file.stat().st_mtime_ns


def _key(path: Path) -> str:
    return str(path.resolve())


def _read_manifest(path: Path) -> dict[str, str | float]:
    try:
        manifest: dict[str, str | float] = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError):
        raise DataError(f"{path}: is not a list of what was predicted; choose another folder") from None
    return manifest
