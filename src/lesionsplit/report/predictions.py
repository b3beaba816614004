"""Image files in, heat maps, masks, healthy versions and overlays out."""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from lesionsplit.cases.window import window_of
from lesionsplit.data.lungs import LungSlice, lung_masked, read_lung_slice
from lesionsplit.errors import DataError, NoLungError
from lesionsplit.images import Grey, as_float, as_grey, read_grey, write_bytes, write_image
from lesionsplit.lungs.find import find_lungs_in_slice
from lesionsplit.lungs.levels import grey_levels
from lesionsplit.memory import keep_freed_memory
from lesionsplit.model import digest
from lesionsplit.pictures import outline, overlay_tile
from lesionsplit.predictor import Prediction, Predictor
from lesionsplit.progress import Progress, silent
from lesionsplit.report.inputs import Outcome, gather

Restore: TypeAlias = Callable[[Prediction], Prediction]
"""From what is found in a slice as the network saw it to what is found in the slice as it is."""

TABLE = "predictions.csv"
MANIFEST = "predictions.json"
COLUMNS = ("slice", "slice_score", "lesion_pixels", "share_of_lung")
OUTLINE = (255, 64, 64)
AHEAD = 16
"""Slices whose files may wait to be written, which bounds memory."""


def predict_files(
    inputs: Sequence[Path],
    out: Path,
    weights: Path | None = None,
    *,
    lungs: Path | None = None,
    raw: bool = False,
    threshold: float | None = None,
    overwrite: bool = False,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Predict image files and folders of them; what cannot be read is said and left out.

    Args:
        inputs: image files, or folders of them.
        out: the folder to write to.
        weights: a weights file, by default the one in the package.
        lungs: a folder with NAME_lungs.png of each slice; by default slices are lung-masked.
        raw: slices are of the whole chest, on an unknown grey scale: their lungs are found first, unless they are
            given, and their scale. One without lung has no lesion.
        threshold: lowest score that counts as lesion, by default the one in the weights.
        overwrite: predict again what is there already.
        device: as for `Predictor.load`.
        threads: of the CPU, by default all.
        progress: shows how far it is.
        say: is given a line about each slice that cannot be read.

    Raises:
        DataError: an input or the folder of lungs does not exist, two would be written under one name, or the
            folder holds predictions of other weights or another threshold.
    """
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    paths = gather(inputs, out, "score")
    if lungs is not None and not lungs.is_dir():
        raise DataError(f"{lungs}: no such folder; give the one that `lesionsplit lungs` wrote")
    predictor = Predictor.load(weights, device=device, threshold=threshold)
    table = PredictionTable(out, lungs)
    table.begin(_manifest(predictor, weights), paths, overwrite=overwrite)
    todo = [path for path in paths if overwrite or not table.has(path)]
    outcome = Outcome(skipped=len(paths) - len(todo))
    read: list[tuple[Path, Restore]] = []
    airless: list[Path] = []

    def slices() -> Iterator[LungSlice]:
        for path in progress(todo, len(todo), "Predicting"):
            try:
                mask = lungs_file(lungs, path) if lungs else None
                one, restore = _raw_slice(path, mask) if raw else (read_lung_slice(path, mask), as_it_is)
            except DataError as error:
                outcome.failed += 1
                table.drop(path)
                say(str(error) if str(path) in str(error) else f"{path}: {error}")
                continue
            if not one.lungs.any():
                airless.append(path)
                say(f"{path}: no lung found, so no lesion")
                continue
            read.append((path, restore))
            yield one

    with ThreadPoolExecutor() as pool:
        writing: deque[tuple[Path, Prediction, Future[None]]] = deque()
        for number, prediction in enumerate(predictor.predict_stream(slices())):
            path, restore = read[number]
            prediction = restore(prediction)
            writing.append((path, prediction, pool.submit(write_prediction, out, path, prediction)))
            while len(writing) > AHEAD:
                _written(table, *writing.popleft())
        for path in airless:
            nothing = nothing_in(read_grey(path))
            writing.append((path, nothing, pool.submit(write_prediction, out, path, nothing)))
        while writing:
            _written(table, *writing.popleft())
    outcome.done = len(read) + len(airless)
    table.finish(paths)
    return outcome


def as_it_is(found: Prediction) -> Prediction:
    """Nothing to restore."""
    return found


def _raw_slice(path: Path, lungs: Path | None) -> tuple[LungSlice, Restore]:
    """A raw slice as the network knows slices, with its lungs, perhaps none; and the way back for what is found."""
    image = read_grey(path)
    if lungs is not None:
        inside = read_lung_slice(path, lungs).lungs
    else:
        try:
            inside = find_lungs_in_slice(image)
        except NoLungError:
            inside = np.zeros(image.shape, dtype=bool)
    window = window_of(grey_levels([image]))
    seen = window.to_grey(image)

    def restore(found: Prediction) -> Prediction:
        return replace(found, healthy=window.with_change(image, seen, found.healthy, found.lungs))

    return lung_masked(seen, inside), restore


def nothing_in(image: Grey) -> Prediction:
    """What is found in a slice without lung."""
    nothing = np.zeros(image.shape, dtype=bool)
    return Prediction(score=nothing.astype(np.float32), mask=nothing, healthy=image, lungs=nothing)


def write_prediction(out: Path, path: Path, prediction: Prediction) -> None:
    """Write a slice's four images."""
    files = output_files(out, path)
    image = read_grey(path)
    overlay = outline(overlay_tile(as_float(image), prediction.score), prediction.mask, OUTLINE)
    write_image(files["score"], as_grey(prediction.score, np.uint16))
    write_image(files["mask"], np.where(prediction.mask, 255, 0).astype(np.uint8))
    write_image(files["healthy"], prediction.healthy)
    write_image(files["overlay"], overlay)


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
        changed = [key for key in ("weights", "threshold") if known and known.get(key) != manifest[key]]
        if changed and not overwrite:
            raise DataError(
                f"{self.out}: holds predictions with another {' and '.join(changed)}; choose another folder, or "
                "--overwrite"
            )
        self.rows = self._read()
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


def _written(table: PredictionTable, path: Path, prediction: Prediction, written: Future[None]) -> None:
    written.result()
    table.add(path, prediction)


def _manifest(predictor: Predictor, weights: Path | None) -> dict[str, str | float]:
    return {
        "lesionsplit": version("lesionsplit"),
        "weights": digest(weights),
        "threshold": predictor.threshold,
        "threshold from": predictor.model.card.threshold_from,
        "score": "NAME_score.png, 16 bit: 65535 is 1.0",
    }
