"""How heat maps are scored against masks: the conventions, in one place.

* One grid for all: the frame's longer side has ``resolution`` pixels (256); scores are averaged onto
  it, and a pixel of it is lesion, or lung, where at least half of it is.
* Scores are 0 farther than one pixel of that grid from the lungs.
* Pooled: over all pixels of the split's lesion slices, on the whole image or inside the lungs. Per
  image: the mean over lesion slices of each one's own value.
* Agreed: pixels that the first two annotators both outlined, against those that neither did; the
  pixels on which they disagree are left out.
* Normal slices never enter a Dice or an average precision; they are reported for themselves.
* Intervals: 95 %, bootstrap over series.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
import numpy as np
from PIL.Image import Resampling
from scipy import ndimage

from lesionsplit.data import masks
from lesionsplit.data.lungs import LungSlice
from lesionsplit.data.table import Slice, Table
from lesionsplit.errors import DataError
from lesionsplit.evaluation.baselines import HeatMap
from lesionsplit.evaluation.bootstrap import RESAMPLES, Bootstrap, Estimate
from lesionsplit.evaluation.counts import (
    MaskCounts,
    PixelCounts,
    average_precision,
    binary_dice,
    binary_precision,
    binary_recall,
    prevalence,
    reliability,
)
from lesionsplit.evaluation.healthy import AgainstHealthy
from lesionsplit.evaluation.tally import AgainstAgreed, AgainstAnnotator, MethodTally, OnSlices, Scored
from lesionsplit.images import Float, Mask, as_float, resize

RESOLUTION = 256


class Chance(msgspec.Struct, frozen=True, kw_only=True):
    """The average precision of a score that knows nothing, which is the share of lesion pixels."""

    average_precision: Estimate
    average_precision_in_lung: Estimate
    average_precision_per_image: Estimate


class AnnotatorAgainst(msgspec.Struct, frozen=True, kw_only=True):
    """One annotator's masks taken as if a method had made them, against another's."""

    dice: Estimate
    precision: Estimate
    recall: Estimate


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    """Whether scores mean the chance of being outlined: by tenth of the scale, the lowest first; None: no pixel."""

    score: list[float | None]
    """Mean score of the pixels."""

    outlined: list[float | None]
    """Share of them that the annotator outlined."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured on a split."""

    conventions: dict[str, str | int | float | None]
    """What the numbers mean: data, split, counts, resolution, thresholds."""

    chance: dict[str, Chance]
    """By annotator."""

    annotators: dict[str, dict[str, AnnotatorAgainst]]
    """By the annotator who is judged against, then by the one who is judged."""

    methods: dict[str, dict[str, AgainstAnnotator]]
    """By method, then by annotator."""

    agreed: dict[str, dict[str, AgainstAgreed]]
    """By pair of annotators (``a and b``, the table's first two), then by method, chance among them."""

    reliability: dict[str, dict[str, Reliability]]
    """By method, then by annotator: pixels in the lungs of lesion slices."""

    slices: dict[str, OnSlices]
    """By method."""

    healthy: AgainstHealthy | None = None
    """Ours, where the table knows what slices look like healthy."""


def evaluate(
    table: Table,
    scores: Mapping[str, Iterable[Scored]],
    thresholds: Mapping[str, float | None],
    resolution: int = RESOLUTION,
) -> tuple[Evaluation, dict[str, MethodTally]]:
    """Score methods' heat maps against every annotator.

    Args:
        table: the slices of one split; lesion slices with masks, by all annotators alike.
        scores: by method, a heat map for each slice of the table in its order, on its frame at any
            resolution.
        thresholds: by method, the score from which a pixel counts as lesion; None where there is none, and then
            no number at a stored threshold.
        resolution: of the grid on which scores and masks meet.

    Returns:
        The numbers, and the counts behind them, from which curves are drawn.

    Raises:
        DataError: a lesion slice has no mask of an annotator.
    """
    annotators = _annotators(table)
    tallies = {name: MethodTally(threshold) for name, threshold in thresholds.items()}
    between = {name: {other: MaskCounts() for other in annotators if other != name} for name in annotators}
    streams = {name: iter(stream) for name, stream in scores.items()}
    for row in table:
        truths = {name: read_mask(row, name, resolution) for name in annotators if name in row.masks}
        if row.label == "normal":  # an empty mask says no more than the label does
            truths = {}
        for name, stream in streams.items():
            scored = to_grid(next(stream), resolution)
            if not scored.lungs.any():
                raise DataError(f"{row.place}: has no lung left at a resolution of {resolution}; leave it out")
            tallies[name].add(row, scored, truths)
        for name, truth in truths.items():
            for other, counts in between[name].items():
                counts.add_mask(row.series, truths[other], truth)
    return _summarise(table, tallies, between, resolution), tallies


def untrained_scores(slices: Iterable[LungSlice], heat_map: HeatMap, resolution: int = RESOLUTION) -> Iterator[Scored]:
    """Heat maps of a baseline without training, made on the evaluation's grid.

    Args:
        slices: grey and lungs, of any size.
        heat_map: one of `baselines.UNTRAINED`, or another that needs nothing but grey and lungs.
        resolution: of the grid.
    """
    for grey, lungs in slices:
        small = to_grid(Scored(as_float(grey), lungs), resolution)
        yield Scored(heat_map(small.score, small.lungs), small.lungs)


def to_grid(scored: Scored, resolution: int) -> Scored:
    """A heat map and its lungs on the grid on which scores and masks meet.

    Scores reach a pixel of the grid beyond the lungs: their edge runs through pixels, and a lesion at the
    pleura is outlined across it.
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
    for row in table.labelled("lesion"):
        for name in annotators:
            if name not in row.masks:
                raise DataError(
                    f"{row.place}: has no mask of {name}, who outlined other slices; add it or drop the column"
                )
    return annotators


def _summarise(
    table: Table, tallies: Mapping[str, MethodTally], between: Mapping[str, Mapping[str, PixelCounts]], resolution: int
) -> Evaluation:
    lesion, normal = table.labelled("lesion"), table.labelled("normal")
    bootstrap = Bootstrap([row.series for row in lesion])
    any_method = next(iter(tallies.values()))  # the masks are the same for all
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
            **{f"threshold of {name}": tally.threshold for name, tally in tallies.items()},
        },
        chance={
            name: Chance(
                average_precision=bootstrap.pooled(prevalence, tally.whole),
                average_precision_in_lung=bootstrap.pooled(prevalence, tally.in_lung),
                average_precision_per_image=bootstrap.mean(tally.prevalences, tally.outlined),
            )
            for name, tally in any_method.annotators.items()
        },
        annotators={
            name: {
                other: AnnotatorAgainst(
                    dice=bootstrap.pooled(binary_dice, counts),
                    precision=bootstrap.pooled(binary_precision, counts),
                    recall=bootstrap.pooled(binary_recall, counts),
                )
                for other, counts in others.items()
            }
            for name, others in between.items()
        },
        methods={name: tally.against_annotators() for name, tally in tallies.items()},
        agreed={
            pair: {
                "chance": AgainstAgreed(average_precision=bootstrap.pooled(prevalence, counts)),
                **{
                    name: AgainstAgreed(average_precision=bootstrap.pooled(average_precision, tally.agreed[pair]))
                    for name, tally in tallies.items()
                },
            }
            for pair, counts in any_method.agreed.items()
        },
        reliability={
            name: {annotator: _reliability(one.in_lung) for annotator, one in tally.annotators.items()}
            for name, tally in tallies.items()
        },
        slices={name: tally.on_slices() for name, tally in tallies.items()},
    )


def _reliability(pixels: PixelCounts) -> Reliability:
    score, outlined = (
        [float(value) if np.isfinite(value) else None for value in values] for values in reliability(pixels.total)
    )
    return Reliability(score=score, outlined=outlined)
