"""Image files in, heat maps, masks, healthy versions and overlays out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from lesionsplit.cases.window import window_of
from lesionsplit.data.lungs import LungSlice, lung_masked, read_lung_slice
from lesionsplit.engines.base import EngineName
from lesionsplit.errors import DataError, NoLungError
from lesionsplit.images import Grey, as_float, as_grey, read_grey, write_image
from lesionsplit.lungs.find import find_lungs_in_slice
from lesionsplit.lungs.levels import grey_levels
from lesionsplit.memory import keep_freed_memory
from lesionsplit.model import digest
from lesionsplit.pictures import outline, overlay_tile
from lesionsplit.predictor import Prediction, Predictor
from lesionsplit.progress import Progress, silent
from lesionsplit.report.inputs import Outcome, gather
from lesionsplit.report.prediction_table import PredictionTable, lungs_file, output_files

Restore: TypeAlias = Callable[[Prediction], Prediction]
"""From what is found in a slice as the network saw it to what is found in the slice as it is."""

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
    engine: EngineName | None = None,
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
        engine: as for `Predictor.load`.
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
    predictor = Predictor.load(weights, device=device, threshold=threshold, engine=engine)
    table = PredictionTable(out, lungs)
    table.begin(_manifest(predictor, weights, _lungs_from(raw, lungs)), paths, overwrite=overwrite)
    todo = [path for path in paths if overwrite or not table.has(path)]
    outcome = Outcome(skipped=len(paths) - len(todo))
    read: list[tuple[Path, Restore]] = []
    airless: list[Path] = []

    def slices() -> Iterator[LungSlice]:
        for path in progress(todo, len(todo), "Predicting"):
            try:
                mask = lungs_file(lungs, path) if lungs else None
                one, restore = _raw_slice(path, mask, device) if raw else (read_lung_slice(path, mask), as_it_is)
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


def _raw_slice(path: Path, lungs: Path | None, device: str) -> tuple[LungSlice, Restore]:
    """A raw slice as the network knows slices, with its lungs, perhaps none; and the way back for what is found."""
    image = read_grey(path)
    if lungs is not None:
        inside = read_lung_slice(path, lungs).lungs
    else:
        try:
            inside = find_lungs_in_slice(image, device=device)
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


def _written(table: PredictionTable, path: Path, prediction: Prediction, written: Future[None]) -> None:
    written.result()
    table.add(path, prediction)


def _lungs_from(raw: bool, lungs: Path | None) -> str:
    """Where the lungs of slices are from, for the manifest."""
    return f"{'raw, ' if raw else ''}{'given' if lungs else 'found' if raw else 'masked'}"


def _manifest(predictor: Predictor, weights: Path | None, lungs: str) -> dict[str, str | float]:
    return {
        "lesionsplit": version("lesionsplit"),
        "weights": digest(weights),
        "threshold": predictor.threshold,
        "lungs": lungs,
        "threshold from": predictor.model.card.threshold_from,
        "score": "NAME_score.png, 16 bit: 65535 is 1.0",
    }
