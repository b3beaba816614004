"""How heat maps are scored against masks: the conventions in one place.

* One grid for all methods: the longer side of the frame has ``resolution`` pixels (256). Scores are averaged onto the
  grid; a pixel of the grid is lesion, or lung, where at least half of it is.
* Scores are 0 farther than one pixel of the grid from the lungs.
* Pooled: over all pixels of the split's lesion slices, on the whole image or inside the lungs. Per image: the mean
  over lesion slices of each slice's own value.
* Agreed: pixels that the first two annotators both outlined against pixels that neither did; pixels on which they
  disagree are left out.
* Normal slices are not part of any Dice or average precision; they have measures of their own.
* Intervals: 95 %, bootstrap over series.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from PIL.Image import Resampling
from scipy import ndimage

from lesionsplit.data import masks
from lesionsplit.data.lung_slice import LungSlice, read_slice
from lesionsplit.data.table import Slice, Table
from lesionsplit.errors import DataError
from lesionsplit.evaluation.accumulators import MethodAccumulator, Scored
from lesionsplit.evaluation.baselines import HeatMap
from lesionsplit.evaluation.bootstrap import RESAMPLES, Bootstrap, Estimates, estimates
from lesionsplit.evaluation.result import (
    AGAINST,
    AGREED,
    BETWEEN_ANNOTATORS,
    CHANCE,
    OF_CHANCE,
    ON_SLICES,
    Evaluation,
    Reliability,
)
from lesionsplit.evaluation.score_histogram import (
    MaskHistogram,
    ScoreHistogram,
    binary_dice,
    binary_precision,
    binary_recall,
    reliability,
)
from lesionsplit.images import Float, Mask, as_float, resize
from lesionsplit.scores import CALLED_NORMAL

RESOLUTION = 256


def evaluate(
    table: Table,
    scores: Mapping[str, Iterable[Scored]],
    thresholds: Mapping[str, float | None],
    resolution: int = RESOLUTION,
    called_normal: float = CALLED_NORMAL,
) -> tuple[Evaluation, dict[str, MethodAccumulator]]:
    """Score methods' heat maps against every annotator.

    Args:
        table: the slices of one split; every lesion slice has a mask of every annotator.
        scores: by method, a heat map for each slice of the table in its order, on the slice's frame at any
            resolution.
        thresholds: by method, the score from which a pixel counts as lesion; None where there is none: measures at
            the stored threshold are then missing.
        resolution: pixels on the longer side of the grid on which scores and masks are compared.
        called_normal: the lesion fraction below which a slice counts as normal.

    Returns:
        The numbers, and by method the counts behind them, from which curves are drawn.

    Raises:
        DataError: a lesion slice has no mask of an annotator, or only normal slices have masks.
    """
    annotators = _annotators(table)
    accumulators = {name: MethodAccumulator(threshold, called_normal) for name, threshold in thresholds.items()}
    between = {name: {other: MaskHistogram() for other in annotators if other != name} for name in annotators}
    streams = {name: iter(stream) for name, stream in scores.items()}
    for row in table:
        truths = {name: read_mask(row, name, resolution) for name in annotators if name in row.masks}
        if row.label == "normal":  # an empty mask adds nothing to the label
            truths = {}
        for name, stream in streams.items():
            on_frame = next(stream)
            scored = to_grid(on_frame, resolution)
            if not scored.lungs.any():
                raise DataError(f"{row.place}: has no lung left at a resolution of {resolution}; remove the slice")
            if on_frame.healthy is not None:
                accumulators[name].healthy.add(row, on_frame.healthy, on_frame.lungs)
                grey, healthy = (
                    onto_grid(as_float(one), resolution) for one in (read_slice(row).grey, on_frame.healthy)
                )
                accumulators[name].removal.add(row.series, grey, healthy, scored.lungs, list(truths.values()))
            accumulators[name].add(row, scored, truths)
        for name, truth in truths.items():
            for other, counts in between[name].items():
                counts.add_mask(row.series, truths[other], truth)
    return _summarise(table, accumulators, between, resolution), accumulators


def untrained_scores(slices: Iterable[LungSlice], heat_map: HeatMap, resolution: int = RESOLUTION) -> Iterator[Scored]:
    """Heat maps of an untrained baseline, made on the evaluation's grid.

    Args:
        slices: grey and lungs, of any size.
        heat_map: one of `baselines.UNTRAINED`, or any other function of grey and lungs.
        resolution: of the grid.
    """
    for image, lungs in slices:
        grey = as_float(image)
        small = to_grid(Scored(grey if grey.ndim == 2 else grey.mean(axis=2), lungs), resolution)
        yield Scored(heat_map(small.score, small.lungs), small.lungs)


def to_grid(scored: Scored, resolution: int) -> Scored:
    """A heat map and its lungs on the grid on which scores and masks are compared.

    Scores extend one pixel of the grid beyond the lungs, because the lungs' edge runs through pixels and annotators
    outline lesions at the pleura across it.
    """
    lungs = onto_grid(scored.lungs, resolution) >= 0.5
    near = ndimage.binary_dilation(lungs, np.ones((3, 3), dtype=bool))
    return Scored(np.where(near, onto_grid(scored.score, resolution), 0).astype(np.float32), lungs, scored.presence)


def onto_grid(image: Float | Mask, resolution: int) -> Float:
    """An image averaged onto a grid whose longer side has ``resolution`` pixels."""
    rows, columns = image.shape
    scale = resolution / max(rows, columns)
    shape = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    return resize(image.astype(np.float32), shape, Resampling.BOX)


def read_mask(row: Slice, annotator: str, resolution: int) -> Mask:
    """One annotator's mask of a slice, on the grid."""
    outlined: Mask = onto_grid(masks.read_mask(row, annotator), resolution) >= 0.5
    return outlined


def _annotators(table: Table) -> tuple[str, ...]:
    annotators = table.annotators  # gathered from all of its rows
    if annotators and not table.labelled("lesion"):
        raise DataError(
            f"{table.root}: lists masks, but no slice with lesion; add some, or remove the columns of masks"
        )
    for row in table.labelled("lesion"):
        for name in annotators:
            if name not in row.masks:
                raise DataError(
                    f"{row.place}: has no mask of {name}, who outlined other slices; add it or remove the column"
                )
    return annotators


def _summarise(
    table: Table,
    accumulators: Mapping[str, MethodAccumulator],
    between: Mapping[str, Mapping[str, ScoreHistogram]],
    resolution: int,
) -> Evaluation:
    lesion, normal = table.labelled("lesion"), table.labelled("normal")
    any_method = next(iter(accumulators.values())).measured()  # masks, and so chance, are the same for all methods
    measured = {name: accumulator.measured() for name, accumulator in accumulators.items()}
    chance = {
        judge: {name.replace("chance", "average_precision"): one for name, one in numbers.items() if "chance" in name}
        for judge, numbers in any_method.against.items()
    }
    agreed = [judge for judge in any_method.against if judge not in between]
    return Evaluation(
        conventions={
            "data": table.root.resolve().name,
            "split": "+".join(sorted({row.split for row in table})),
            "lesion slices": len(lesion),
            "normal slices": len(normal),
            "lesion series": len({row.series for row in lesion}),
            "normal series": len({row.series for row in normal}),
            "resolution": resolution,
            "average precision": "sum of precision times step in recall, 16-bit scores; not the trapezoid",
            "pooled": "over all pixels of the lesion slices",
            "interval": f"95 %, {RESAMPLES} bootstrap resamples of series",
            **{f"threshold of {name}": accumulator.threshold for name, accumulator in accumulators.items()},
        },
        chance={judge: estimates(OF_CHANCE, chance[judge]) for judge in between},
        annotators=_between_annotators(lesion, between),
        methods={
            name: {judge: estimates(AGAINST, one.against[judge]) for judge in between} for name, one in measured.items()
        },
        agreed={
            pair: {
                CHANCE: estimates(AGREED, chance[pair]),
                **{name: estimates(AGREED, one.against[pair]) for name, one in measured.items()},
            }
            for pair in agreed
        },
        reliability={
            name: {annotator: _reliability(one.in_lung) for annotator, one in accumulator.annotators.items()}
            for name, accumulator in accumulators.items()
        },
        slices={name: estimates(ON_SLICES, one.slices) for name, one in measured.items()},
        healthy={
            name: found
            for name, accumulator in accumulators.items()
            if (found := accumulator.healthy.summarise()) is not None
        },
        removal={
            name: found
            for name, accumulator in accumulators.items()
            if (found := accumulator.removal.summarise()) is not None
        },
    )


def _between_annotators(
    lesion: Table, between: Mapping[str, Mapping[str, ScoreHistogram]]
) -> dict[str, dict[str, Estimates]]:
    bootstrap = Bootstrap([row.series for row in lesion])
    measures = dict(zip(BETWEEN_ANNOTATORS, (binary_dice, binary_precision, binary_recall), strict=True))
    return {
        name: {other: estimates(measures, bootstrap.pooled(counts, **measures)) for other, counts in others.items()}
        for name, others in between.items()
    }


def _reliability(pixels: ScoreHistogram) -> Reliability:
    score, outlined = (
        [float(value) if np.isfinite(value) else None for value in values] for values in reliability(pixels.total)
    )
    return Reliability(score=score, outlined=outlined)
