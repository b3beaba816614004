"""A trained network applied to slices: heat maps, masks and healthy versions on the grid of each slice."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy import ndimage

from lesionsplit.data.lung_slice import LungSlice, check_range, find_lungs, lung_masked
from lesionsplit.data.placement import Placement, Spacing
from lesionsplit.data.table import Slice, Table
from lesionsplit.errors import DataError
from lesionsplit.images import Float, Grey, Mask, as_float, as_grey
from lesionsplit.models.engine import Engine, EngineOutput
from lesionsplit.models.open_engine import open_engine
from lesionsplit.runtime import EngineName
from lesionsplit.scores import CALLED_NORMAL, lesion_fraction, lesion_mask, slice_score

Place: TypeAlias = tuple[str, int]
"""The series of a slice and its position there; slices of one series whose positions differ by one are neighbours."""

LOWEST_CONTRAST = 0.5
"""In network grey, where the mean lung is 0 and the brightest that a network can see 1. Even small structures that are
brighter still are more than this on the canvas."""

BATCH = 8
"""Slices per batch: more are not faster on a CPU and need more memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The result for one slice; every array is (rows, columns), as the slice.

    A healthy version in colour is (rows, columns, 3).
    """

    score: Float
    """0 to 1, raw: comparable between slices; 0 outside the lungs, except in the pleural margin of some methods."""

    mask: Mask
    """Where the score reaches the model's threshold."""

    healthy: Grey
    """The slice without its lesion, of the input's depth."""

    lungs: Mask
    """The lungs; of other images the region that counts."""

    called_normal: float = CALLED_NORMAL
    """The lesion fraction below which the slice counts as normal."""

    presence: float | None = None
    """Probability that the slice has any lesion, 0 to 1, from methods with a classifier; None from others."""

    @property
    def slice_score(self) -> float:
        """How likely the slice has any lesion, 0 to 1: `presence`, else the mean of the highest scores."""
        return slice_score(self.score, self.lungs) if self.presence is None else self.presence

    @property
    def lesion_fraction(self) -> float:
        """Fraction of the lungs that is lesion, 0 to 1."""
        return lesion_fraction(self.mask, self.lungs)

    @property
    def has_lesion(self) -> bool:
        """Whether the slice counts as one with lesion."""
        return self.lesion_fraction >= self.called_normal


class SlicePredictor:
    """A network, loaded once for any number of slices.

    >>> predictor = SlicePredictor.load()
    >>> prediction = predictor.predict(slice_of_a_chest)  # (rows, columns), uint8 or uint16, lung-masked
    >>> prediction.score.shape == slice_of_a_chest.shape
    True
    """

    def __init__(self, engine: Engine, *, threshold: float | str | None = None) -> None:
        self.engine = engine
        self.card = engine.card
        self.threshold, self.threshold_from = self.card.choose_threshold(threshold)

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        *,
        device: str = "auto",
        threshold: float | str | None = None,
        engine: EngineName | None = None,
    ) -> SlicePredictor:
        """Load a weights file, by default the one in the package.

        Args:
            weights: a file that `lesionsplit train` or `lesionsplit export` wrote.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``; with MindSpore ``auto``, ``cpu``, ``ascend``,
                ``ascend:1``.
            threshold: the score from which a pixel is lesion, a number or a name of `PredictionCard.thresholds`; by
                default the one stored in the weights.
            engine: ``torch``, ``mindspore`` or ``onnx`` (ONNX Runtime); by default as for `open_engine`. Weights that
                are not exported are converted when ONNX Runtime first runs them, which takes seconds, and are then
                kept in the user's cache folder.

        Raises:
            WeightsError: the file is missing, broken or of another kind, or cannot be converted for the engine.
            SettingsError: there is no such device or engine, or the threshold is not in (0, 1] and no name of one.
        """
        path = None if weights is None else Path(weights)
        return cls(open_engine(path, engine, device), threshold=threshold)

    def predict(self, image: Grey, lungs: Mask | None = None) -> Prediction:
        """Predict one slice, (rows, columns), 8 or 16 bit, lung-masked, or with its lungs.

        Args:
            image: the slice.
            lungs: bool, (rows, columns); by default all that is not black.

        Raises:
            DataError: the slice or its lungs are of another type or shape, there is no lung, or the slice is
                not lung-masked. Of weights for other images the same holds for these and their region.
        """
        if not self.card.kind.of_lungs:
            (prediction,) = self.predict_stream([self.card.kind.seen(image, lungs, "the image")])
            return prediction
        if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
            raise DataError(f"the slice is {image.dtype} {image.shape}; allowed: (rows, columns) of uint8 or uint16")
        if lungs is None:
            lungs = find_lungs(image)
        elif lungs.shape != image.shape or lungs.dtype != np.bool_ or not lungs.any():
            raise DataError(
                f"the lungs are {lungs.dtype} {lungs.shape}; allowed: bool {image.shape}, with at least one pixel set"
            )
        seen = lung_masked(image, lungs)
        check_range(seen.grey)
        (prediction,) = self.predict_stream([seen])
        return prediction

    def predict_stream(self, slices: Iterable[LungSlice], spacing: Spacing | None = None) -> Iterator[Prediction]:
        """Predict any number of slices, which may differ in size and depth, each independently of the others.

        Slices are read, and results brought back to the slices, while the network works; a few are in memory at a
        time. Errors of ``slices`` propagate.

        Args:
            slices: with their lungs.
            spacing: millimetres between rows and between columns of all slices, if known: the network then sees
                lungs at their true size, and pixels need not be square.
        """
        prepared = (self._prepare(one, spacing) for one in slices)
        with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(1) as engine:
            waiting = ahead.submit(_take, prepared)
            before: tuple[list[_Placed], Future[EngineOutput]] | None = None
            while batch := waiting.result():
                waiting = ahead.submit(_take, prepared)
                running = engine.submit(self._infer, batch)
                if before is not None:
                    yield from self._finished(*before)
                before = batch, running
            if before is not None:
                yield from self._finished(*before)

    def predict_series(self, slices: Iterable[SeriesSlice], spacing: Spacing | None = None) -> Iterator[Prediction]:
        """Predict slices of series: the score of each is averaged with its neighbours' scores.

        Most lesions extend over several slices, and noise does not. The method's `neighbour_weight` is the weight
        of a neighbour. Slices without neighbours are predicted as `predict_stream` does.

        Args:
            slices: in order, the slices of a series together.
            spacing: as for `predict_stream`.
        """
        share = self.card.method.neighbour_weight
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
            among: the table that contains their neighbours; by default neighbours are looked up in ``rows``.
        """
        if among is None or not self.card.method.neighbour_weight:
            yield from self.predict_series(
                SeriesSlice(row.series, row.position, self.card.kind.read_row(row)) for row in rows
            )
            return
        for row in rows:
            near = among.around([row]).slices
            yield list(self.predict_rows(near))[near.index(row)]

    def _prepare(self, one: LungSlice, spacing: Spacing | None) -> _Placed:
        grey = as_float(one.grey)
        placement = self.card.placement.place(one.lungs, spacing)
        shown, region = self.card.kind.place(placement, grey, one.lungs)
        canvas = self.card.kind.on_canvas(self.card.normalisation.apply(shown), region)
        return _Placed(one, grey, placement, canvas)

    def _infer(self, batch: list[_Placed]) -> EngineOutput:
        canvases = np.stack([one.canvas for one in batch])
        return self.engine.infer(canvases if canvases.ndim == 4 else canvases[:, None])

    def _finished(self, batch: list[_Placed], running: Future[EngineOutput]) -> Iterator[Prediction]:
        found = running.result()
        presence = [None] * len(batch) if found.presence is None else found.presence.tolist()
        yield from map(self._finish, batch, found.score, found.healthy, presence)

    def _finish(self, placed: _Placed, score: Float, healthy: Float, presence: float | None) -> Prediction:
        """Bring the outputs back to the grid of the slice.

        The healthy version is the slice plus the change that the network makes, so that unchanged parts keep detail
        finer than the network's grid. Of what is brighter than the network can see, it loses the share that the
        network takes off of the contrast to the mean lung.
        """
        image, lungs = placed.slice
        normalisation = self.card.normalisation
        change = normalisation.undo(healthy) - normalisation.undo(placed.canvas)
        changed = placed.grey + placed.placement.undo(change)
        if self.card.kind.of_lungs:
            unseen = np.where(lungs, placed.grey - normalisation.undo(np.ones(1, np.float32)), 0).clip(min=0)
            if unseen.any():
                share = ((placed.canvas - healthy) / np.maximum(placed.canvas, LOWEST_CONTRAST)).clip(0, 1)
                changed -= placed.placement.undo(share) * unseen
        whole = np.where(lungs if placed.grey.ndim == 2 else lungs[..., None], changed, placed.grey)
        resampled = placed.placement.undo(score)
        if self.card.kind.of_lungs:
            lungs_and_rim = _widen(lungs, self.card.method.margin_pixels * placed.placement.scale)
        else:
            lungs_and_rim = lungs
            resampled = self.card.kind.without_outside(resampled, placed.canvas, placed.placement)
        on_frame = np.where(lungs_and_rim, resampled.clip(0, 1), 0).astype(np.float32)
        return Prediction(
            score=on_frame,
            mask=lesion_mask(on_frame, self.threshold),
            healthy=as_grey(whole.astype(np.float32), image.dtype),
            lungs=lungs,
            called_normal=self.card.kind.called_normal,
            presence=presence,
        )


class SeriesSlice(NamedTuple):
    """A slice, its series, and its position there."""

    series: str

    position: int

    slice: LungSlice


def averaged(found: Iterable[tuple[Place, Prediction]], share: float) -> Iterator[Prediction]:
    """Average the score of each pixel with the scores of the slices before and after.

    s_i becomes (s_i + w s_{i-1} + w s_{i+1}) / (1 + 2 w); a neighbour counts inside its own lungs only. A score of 0
    stays 0. Neighbours have the same series and shape.

    Args:
        found: place and prediction, in order; masks are left as they are.
        share: w.
    """
    before: tuple[Place, Prediction] | None = None
    here: tuple[Place, Prediction] | None = None

    def settled(after: tuple[Place, Prediction] | None) -> Iterator[Prediction]:
        if here is None:
            return
        (series, position), one = here
        reached = np.flatnonzero(one.score > 0)
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
    """A slice prepared for the network; its canvas is (H, W), or (3, H, W) in colour."""

    slice: LungSlice
    grey: Float
    placement: Placement
    canvas: Float


def _widen(lungs: Mask, pixels: float) -> Mask:
    """The lungs dilated by a square of ``pixels`` on each side."""
    size = 2 * math.ceil(pixels) + 1
    wider: Mask = ndimage.maximum_filter(lungs, size) if size > 1 else lungs
    return wider


def _take(slices: Iterator[_Placed]) -> list[_Placed]:
    return list(islice(slices, BATCH))
