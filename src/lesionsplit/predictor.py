"""Slices in, heat maps, masks and healthy versions out, on the slices' own grid."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from scipy import ndimage

from lesionsplit.data.lungs import LungSlice, find_lungs, lung_masked, read_slice
from lesionsplit.data.placement import Placement, Spacing
from lesionsplit.data.table import Slice, Table
from lesionsplit.engines.base import SUFFIXES, Engine, EngineName
from lesionsplit.engines.choose import open_engine
from lesionsplit.engines.torch import TorchEngine
from lesionsplit.errors import DataError, SettingsError
from lesionsplit.images import Float, Grey, Mask, as_float, as_grey
from lesionsplit.model import Model
from lesionsplit.reading import lesion_mask, share_of_lung, slice_score

Place: TypeAlias = tuple[str, int]
"""In which series a slice lies, and where; those of a series that are one apart are neighbours."""

BATCH = 8
"""Slices that go through the network together: more is no faster on a CPU and costs memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is found in one slice; every image is (rows, columns) as the input's."""

    score: Float
    """0 to 1, raw: comparable between slices; 0 outside the lungs, but for a rim that some methods reach."""

    mask: Mask
    """Where the score reaches the model's threshold."""

    healthy: Grey
    """The slice without its lesion, of the input's depth."""

    lungs: Mask

    presence: float | None = None
    """How sure a method that says so itself is that the slice has a lesion at all, 0 to 1."""

    @property
    def slice_score(self) -> float:
        """How sure it is that the slice has a lesion at all, 0 to 1."""
        return slice_score(self.score, self.lungs) if self.presence is None else self.presence

    @property
    def share_of_lung(self) -> float:
        """Share of the lungs that is lesion, 0 to 1."""
        return share_of_lung(self.mask, self.lungs)


class Predictor:
    """A model on a device, loaded once for any number of slices.

    >>> predictor = Predictor.load()
    >>> prediction = predictor.predict(slice_of_a_chest)  # (rows, columns), uint8 or uint16, lung-masked
    >>> prediction.score.shape == slice_of_a_chest.shape
    True
    """

    def __init__(self, model: Model | Engine, *, device: str = "auto", threshold: float | None = None) -> None:
        self.device = choose_device(device)
        self.model = model
        self.engine: Engine = TorchEngine(model, self.device) if isinstance(model, Model) else model
        self.threshold = model.card.threshold if threshold is None else threshold
        if not 0 < self.threshold <= 1:
            raise SettingsError(f"threshold is {self.threshold}; allowed: above 0 and up to 1")

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        *,
        device: str = "auto",
        threshold: float | None = None,
        engine: EngineName | None = None,
    ) -> Predictor:
        """Load a weights file, by default the one in the package.

        Args:
            weights: a file that `lesionsplit train` wrote; or one of `lesionsplit export`, which says itself
                what runs it.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
            threshold: the score from which a pixel is lesion, by default the one stored in the weights.
            engine: what runs the network: ``torch``, ``onnx`` or ``openvino``; ``auto`` is the fastest of those
                installed, on a CPU. Weights are converted when an engine first runs them, which takes seconds,
                and are then kept in the user's cache folder. By default torch, or what the file was exported for.

        Raises:
            WeightsError: the file is missing, broken or of another kind, or cannot be converted for the engine.
            SettingsError: there is no such device or engine, or the threshold is not in (0, 1].
        """
        path = None if weights is None else Path(weights)
        if engine is None:
            engine = "torch" if path is None or path.suffix not in SUFFIXES else "auto"
        chosen = open_engine(path, engine, choose_device(device), wanted=device)
        return cls(chosen, device=device, threshold=threshold)

    def predict(self, image: Grey, lungs: Mask | None = None) -> Prediction:
        """Predict one slice, (rows, columns), 8 or 16 bit, black outside the lungs; or raw, with its lungs.

        Args:
            image: the slice.
            lungs: where its lungs are, (rows, columns), outside of which it is taken for black; by default all
                that is not black.

        Raises:
            DataError: the slice or its lungs are of another type or shape, there is no lung, or the slice is
                not lung-masked.
        """
        if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
            raise DataError(f"the slice is {image.dtype} {image.shape}; allowed: (rows, columns) of uint8 or uint16")
        if lungs is None:
            lungs = find_lungs(image)
        elif lungs.shape != image.shape or lungs.dtype != np.bool_ or not lungs.any():
            raise DataError(
                f"the lungs are {lungs.dtype} {lungs.shape}; allowed: bool {image.shape}, with at least one pixel set"
            )
        (prediction,) = self.predict_stream([lung_masked(image, lungs)])
        return prediction

    def predict_stream(self, slices: Iterable[LungSlice], spacing: Spacing | None = None) -> Iterator[Prediction]:
        """Predict any number of slices, which may differ in size and depth, each as if it were alone.

        Slices are read ahead while the network works; a few are in memory at a time. What ``slices``
        raises is passed on.

        Args:
            slices: with their lungs.
            spacing: millimetres between rows and between columns of all of them, if known: lungs are then
                shown at the size they have, and pixels need not be square.
        """
        with ThreadPoolExecutor(1) as ahead:
            prepared = (self._prepare(one, spacing) for one in slices)
            waiting = ahead.submit(_take, prepared)
            while batch := waiting.result():
                waiting = ahead.submit(_take, prepared)
                yield from self._run(batch)

    def predict_series(self, slices: Iterable[SeriesSlice], spacing: Spacing | None = None) -> Iterator[Prediction]:
        """Predict slices that know where they lie: the score of each is averaged with its neighbours'.

        A lesion seldom ends with a slice, and what one slice shows by chance, its neighbours do not. How much they
        count is the method's (`neighbours`). Slices with no neighbour are predicted as if alone.

        Args:
            slices: in order; those of a series behind each other.
            spacing: as for `predict_stream`.
        """
        share = self.model.card.method.neighbours
        places: deque[Place] = deque()

        def alone() -> Iterator[LungSlice]:
            for one in slices:
                places.append((one.series, one.position))
                yield one.slice

        found = ((places.popleft(), one) for one in self.predict_stream(alone(), spacing))
        for one in averaged(found, share) if share else (one for _, one in found):
            yield replace(one, mask=lesion_mask(one.score, self.threshold))

    def predict_rows(self, rows: Iterable[Slice], among: Table | None = None) -> Iterator[Prediction]:
        """Predict slices of a table, as `predict_series` does.

        Args:
            rows: in the table's order; in any order, if ``among`` is given.
            among: the table that ``rows`` are chosen from, in which they have their neighbours; by default they have
                those that are in ``rows``.
        """
        if among is None or not self.model.card.method.neighbours:
            yield from self.predict_series(SeriesSlice(row.series, row.position, read_slice(row)) for row in rows)
            return
        for row in rows:
            near = among.around([row]).slices
            yield list(self.predict_rows(near))[near.index(row)]

    def _prepare(self, one: LungSlice, spacing: Spacing | None) -> _Placed:
        grey = as_float(one.grey)
        placement = self.model.card.placement.place(one.lungs, spacing)
        return _Placed(one, grey, placement, self.model.card.normalisation.apply(placement.apply(grey)))

    def _run(self, batch: list[_Placed]) -> list[Prediction]:
        found = self.engine.read(np.stack([one.canvas for one in batch])[:, None])
        presence = [None] * len(batch) if found.presence is None else found.presence.tolist()
        return [self._finish(*result) for result in zip(batch, found.score, found.healthy, presence, strict=True)]

    def _finish(self, placed: _Placed, score: Float, healthy: Float, presence: float | None) -> Prediction:
        """Back onto the input's grid.

        The healthy version is the slice plus the change that the network makes to it, so that what
        the network leaves alone keeps the slice's own detail, finer than the canvas.
        """
        image, lungs = placed.slice
        normalisation = self.model.card.normalisation
        change = normalisation.undo(healthy) - normalisation.undo(placed.canvas)
        whole = np.where(lungs, placed.grey + placed.placement.undo(change), placed.grey)
        reached = _widen(lungs, self.model.card.method.reach * placed.placement.scale)
        on_frame = np.where(reached, placed.placement.undo(score).clip(0, 1), 0).astype(np.float32)
        return Prediction(
            score=on_frame,
            mask=lesion_mask(on_frame, self.threshold),
            healthy=as_grey(whole.astype(np.float32), image.dtype),
            lungs=lungs,
            presence=presence,
        )


class SeriesSlice(NamedTuple):
    """A slice that knows where it lies."""

    series: str

    position: int

    slice: LungSlice


def averaged(found: Iterable[tuple[Place, Prediction]], share: float) -> Iterator[Prediction]:
    """Predictions in order, the score of each pixel averaged with that of the slices before and behind.

    s_i becomes (s_i + w s_{i-1} + w s_{i+1}) / (1 + 2 w), a neighbour counting where its lungs are. Where the slice's
    own score is 0 it stays 0. Neighbours are of one series and one shape.

    Args:
        found: series, position and prediction; masks are not made anew.
        share: w.
    """
    before: tuple[Place, Prediction] | None = None
    here: tuple[Place, Prediction] | None = None

    def settled(after: tuple[Place, Prediction] | None) -> Iterator[Prediction]:
        if here is None:
            return
        (series, position), one = here
        reached = np.flatnonzero(one.score > 0)  # some tenth of a frame
        total, weight = one.score.ravel()[reached], np.ones(len(reached), dtype=np.float32)
        for near, step in ((before, -1), (after, 1)):
            if near is not None and near[0] == (series, position + step) and near[1].score.shape == one.score.shape:
                counts = share * near[1].lungs.ravel()[reached].astype(np.float32)
                total += counts * near[1].score.ravel()[reached]
                weight += counts
        score = np.zeros(one.score.shape, dtype=np.float32)
        score.ravel()[reached] = total / weight
        yield replace(one, score=score)

    for one in found:
        yield from settled(one)
        before, here = here, one
    yield from settled(None)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A slice on its way into the network."""

    slice: LungSlice
    grey: Float
    placement: Placement
    canvas: Float


def _widen(lungs: Mask, pixels: float) -> Mask:
    """The lungs and what lies within so many pixels of them, rows and columns alike."""
    size = 2 * math.ceil(pixels) + 1
    wider: Mask = ndimage.maximum_filter(lungs, size) if size > 1 else lungs
    return wider


def _take(slices: Iterator[_Placed]) -> list[_Placed]:
    return list(islice(slices, BATCH))


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is a GPU where there is one.

    Raises:
        SettingsError: torch knows no such device, or there is none here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise SettingsError(f"device {name!r} is not to be had here; allowed: auto, cpu, cuda, cuda:N, mps") from None
    return device
