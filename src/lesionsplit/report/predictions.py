"""Image files in, heat maps, masks, healthy versions and overlays out."""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from lesionsplit.data.lungs import LungSlice, find_lungs
from lesionsplit.data.table import list_images
from lesionsplit.errors import DataError
from lesionsplit.images import as_float, as_grey, read_grey, write_bytes, write_image
from lesionsplit.memory import keep_freed_memory
from lesionsplit.model import digest
from lesionsplit.pictures import outline, overlay_tile
from lesionsplit.predictor import Prediction, Predictor
from lesionsplit.progress import Progress, silent

TABLE = "predictions.csv"
MANIFEST = "predictions.json"
COLUMNS = ("slice", "slice_score", "lesion_pixels", "share_of_lung")
OUTLINE = (255, 64, 64)
AHEAD = 16
"""Slices whose files may wait to be written, which bounds memory."""


@dataclass
class Outcome:
    """How many slices went which way."""

    done: int = 0
    skipped: int = 0
    failed: int = 0


def predict_files(
    inputs: Sequence[Path],
    out: Path,
    weights: Path | None = None,
    *,
    threshold: float | None = None,
    overwrite: bool = False,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Predict image files and folders of them; what cannot be read is said and left out.

    Raises:
        DataError: an input does not exist, two would be written under one name, or the folder holds
            predictions of other weights or another threshold.
    """
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    paths = gather(inputs)
    predictor = Predictor.load(weights, device=device, threshold=threshold)
    table = PredictionTable(out)
    table.begin(_manifest(predictor, weights), overwrite=overwrite)
    todo = [path for path in paths if overwrite or not table.has(path)]
    outcome = Outcome(skipped=len(paths) - len(todo))
    read: list[Path] = []

    def slices() -> Iterator[LungSlice]:
        for path in progress(todo, len(todo), "Predicting"):
            try:
                grey = read_grey(path)
                one = LungSlice(grey, find_lungs(grey))
            except DataError as error:
                outcome.failed += 1
                say(str(error) if str(path) in str(error) else f"{path}: {error}")
                continue
            read.append(path)
            yield one

    with ThreadPoolExecutor() as pool:
        writing: deque[tuple[Path, Prediction, Future[None]]] = deque()
        for number, prediction in enumerate(predictor.predict_stream(slices())):
            path = read[number]
            writing.append((path, prediction, pool.submit(write_prediction, out, path, prediction)))
            while len(writing) > AHEAD:
                _written(table, *writing.popleft())
        while writing:
            _written(table, *writing.popleft())
    outcome.done = len(read)
    table.finish(paths)
    return outcome


def gather(inputs: Sequence[Path]) -> list[Path]:
    """The image files that inputs stand for.

    Raises:
        DataError: an input does not exist, a folder has no image, or two would be written under one name.
    """
    paths: list[Path] = []
    for path in inputs:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        found = list_images(path) if path.is_dir() else [path]
        if not found:
            raise DataError(f"{path}: has no image in it; give a folder of PNG, JPG or TIFF files")
        paths += found
    taken: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        other = taken.setdefault(path.stem, path)
        if other != path:
            raise DataError(f"{path} and {other} would both be written as {path.stem}_score.png; predict them apart")
    return list(taken.values())


def write_prediction(out: Path, path: Path, prediction: Prediction) -> None:
    """Write a slice's four images."""
    files = output_files(out, path)
    image = read_grey(path)
    overlay = outline(overlay_tile(as_float(image), prediction.score), prediction.mask, OUTLINE)
    write_image(files["score"], as_grey(prediction.score, np.uint16))
    write_image(files["mask"], np.where(prediction.mask, 255, 0).astype(np.uint8))
    write_image(files["healthy"], prediction.healthy)
    write_image(files["overlay"], overlay)


def output_files(out: Path, path: Path) -> dict[str, Path]:
    """What is written for a slice."""
    return {kind: out / f"{path.stem}_{kind}.png" for kind in ("score", "mask", "healthy", "overlay")}


@dataclass
class PredictionTable:
    """predictions.csv: a row is added when a slice's images are all there, so that a rerun can go on."""

    out: Path
    rows: dict[str, dict[str, str]] = field(default_factory=dict)

    def begin(self, manifest: dict[str, str | float], *, overwrite: bool) -> None:
        """Read the rows there are.

        Raises:
            DataError: they are of other weights or another threshold.
        """
        before = self.out / MANIFEST
        if before.is_file() and not overwrite:
            known = json.loads(before.read_text())
            changed = [key for key in ("weights", "threshold") if known.get(key) != manifest[key]]
            if changed:
                raise DataError(
                    f"{self.out}: holds predictions with another {' and '.join(changed)}; choose another folder, or "
                    "--overwrite"
                )
        write_bytes(before, (json.dumps(manifest, indent=2) + "\n").encode())
        if (self.out / TABLE).is_file():
            with (self.out / TABLE).open(newline="") as file:
                self.rows = {row["slice"]: row for row in csv.DictReader(file) if row[COLUMNS[-1]]}

    def has(self, path: Path) -> bool:
        """Whether a slice is done, and was not changed since."""
        files = list(output_files(self.out, path).values())
        if str(path) not in self.rows or not path.is_file() or not all(file.is_file() for file in files):
            return False
        return min(file.stat().st_mtime_ns for file in files) >= path.stat().st_mtime_ns

    def add(self, path: Path, prediction: Prediction) -> None:
        """Add a slice whose images have been written."""
        values = (
            str(path),
            f"{prediction.slice_score:.5f}",
            str(np.count_nonzero(prediction.mask)),
            f"{prediction.share_of_lung:.5f}",
        )
        self.rows[str(path)] = dict(zip(COLUMNS, values, strict=True))
        new = not (self.out / TABLE).is_file()
        with (self.out / TABLE).open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(self.rows[str(path)])

    def finish(self, paths: Sequence[Path]) -> None:
        """Write the table anew: this call's slices in their order, then those of earlier calls."""
        order = dict.fromkeys([*map(str, paths), *self.rows])
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[name] for name in order if name in self.rows)
        write_bytes(self.out / TABLE, text.getvalue().encode())


def _written(table: PredictionTable, path: Path, prediction: Prediction, written: Future[None]) -> None:
    written.result()
    table.add(path, prediction)


def _manifest(predictor: Predictor, weights: Path | None) -> dict[str, str | float]:
    return {
        "lesionsplit": version("lesionsplit"),
        "weights": digest(weights) if weights else "the package's own",
        "threshold": predictor.threshold,
        "threshold from": predictor.model.card.threshold_from,
        "score": "NAME_score.png, 16 bit: 65535 is 1.0",
    }
