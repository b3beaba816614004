"""Measure a decomposed volume in two passes, with a few slices in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lesionsplit.csvtext import printable
from lesionsplit.measurements import lobes as lobe_maps
from lesionsplit.measurements.chunks import chunks
from lesionsplit.measurements.components import (
    COLUMN,
    GREY,
    IN_LOBE,
    IN_RIGHT,
    SLICE,
    VOXELS,
    ComponentAccumulator,
    Components,
)
from lesionsplit.measurements.diameters import Extent, extents
from lesionsplit.measurements.histograms import Histograms
from lesionsplit.measurements.lobes import LOBES
from lesionsplit.measurements.profiles import Profiler
from lesionsplit.measurements.regions import regions
from lesionsplit.measurements.result import (
    NO_HU,
    NO_LESION,
    NO_LOBES,
    NO_LUNG,
    NO_SIZE,
    ONE_SLICE,
    Lesion,
    Measurements,
    Missing,
    Profile,
    Region,
    Value,
    Whole,
)
from lesionsplit.measurements.settings import MeasurementSettings
from lesionsplit.measurements.severity import lobe_grade, pan_grade
from lesionsplit.measurements.zones import zone_score, zones
from lesionsplit.volumes.decomposed import EDGE, FAINT, TOP, DecomposedVolume, LeftOut
from lesionsplit.volumes.volume import Volume, Voxels

NO_SCORE = Missing("not computed: no slice with enough lung")

MISMATCH = 0.05
"""Fraction of the lungs outside all lobes, or of the lobes outside the lungs, above which there is a note."""


def measure(
    findings: DecomposedVolume,
    settings: MeasurementSettings = MeasurementSettings(),  # noqa: B008 - it is immutable
    lobes: Voxels | None = None,
) -> Measurements:
    """Measure a decomposed volume.

    Lesion means lesion inside the lungs. Sizes follow from the affine and are valid for any order, direction,
    obliqueness or shear of the axes. If the arrays lie on disk, about 16 slices are in memory.

    Args:
        findings: the volume and the arrays on its grid.
        settings: ranges of HU, and which lesions count.
        lobes: (I, J, K), labels of `measurements.lobes`; without them, measures of lobes are not computed.

    Raises:
        DataError: the lobes are on another grid, have unknown labels or lie in the wrong lung; a voxel of
            the lungs is not a number.
    """
    volume = findings.volume
    if lobes is not None:
        lobe_maps.check_shape(lobes, volume.shape)
    sized, hounsfield = volume.source.kind != "image", volume.intensity == "hu"
    histograms, accumulator = Histograms(), ComponentAccumulator()
    profiler = Profiler(settings.smallest_slice_mm2 / _pixel_mm2(volume))
    for chunk in chunks(findings, lobes):
        histograms.add(chunk)
        accumulator.add(chunk)
        profiler.add(chunk)
    if lobes is not None:
        lobe_maps.check_sides(histograms.counts.sum(axis=(2, 3)))
    parts = regions(histograms, volume.voxel_ml if sized else None, hounsfield, lobes is not None, settings)
    components = accumulator.components()
    no_lesion = _no_lesion(components, settings)
    large = _large(components, settings.smallest_lesion_ml / volume.voxel_ml if sized else 0.0)
    lesions = _lesions(findings, components, min(large, settings.lesions_listed), lobes is not None)
    small = float(components.sums[large:, VOXELS].sum())
    affected, lungs = np.flatnonzero(profiler.lesion), int(np.count_nonzero(profiler.lung))
    worst = int(np.argmax(profiler.lesion))
    own_notes = [*_left_out(findings.left_out), *_notes(volume, parts, histograms, sized, lobes is not None)]
    thirds = zones(
        profiler.lung_by_side, profiler.lesion_by_side, volume.voxel_ml if sized else None, settings.smallest_lesion_ml
    )
    scored = [score for score in profiler.score if score is not None]
    return Measurements(
        name=volume.source.name,
        regions=parts,
        lesion_count=large,
        small_lesion_count=len(components.sums) - large,
        small_lesions_ml=small * volume.voxel_ml if sized else NO_SIZE,
        largest_axial_diameter_mm=_largest([lesion.axial_diameter_mm for lesion in lesions], no_lesion),
        largest_diameter_mm=_largest([lesion.diameter_mm for lesion in lesions], no_lesion),
        slices=len(profiler.lung),
        lung_slices=lungs,
        lesion_slices=len(affected),
        lesion_slices_percent=100 * len(affected) / lungs if lungs else NO_LUNG,
        first_lesion_slice=int(affected[0]) + 1 if len(affected) else NO_LESION,
        last_lesion_slice=int(affected[-1]) + 1 if len(affected) else NO_LESION,
        most_affected_slice=worst + 1 if len(affected) else NO_LESION,
        most_affected_percent=100 * profiler.lesion[worst] / profiler.lung[worst] if len(affected) else NO_LESION,
        **_scores(parts, lobes is not None),
        zone_score=zone_score(thirds, len(profiler.lung)),
        threshold=findings.threshold,
        highest_score=profiler.highest / TOP if profiler.highest >= 0 else NO_LUNG,
        highest_slice_score=max(scored) if scored else NO_SCORE,
        highest_score_slice=profiler.score.index(max(scored)) + 1 if scored else NO_SCORE,
        lesions=lesions,
        zones=thirds,
        left_out=[*findings.left_out],
        profile=Profile(lung_pixels=profiler.lung, lesion_pixels=profiler.lesion, score=profiler.score),
        settings=settings,
        notes=[*dict.fromkeys(map(printable, [*volume.source.notes, *findings.notes, *own_notes]))],
    )


def _large(components: Components, smallest: float) -> int:
    """Number of components with at least ``smallest`` voxels, tolerant to rounding."""
    return int(np.count_nonzero(components.sums[:, VOXELS] >= smallest * (1 - 1e-9)))


def _lesions(findings: DecomposedVolume, components: Components, count: int, with_lobes: bool) -> list[Lesion]:
    measured = enumerate(extents(findings, components, count))
    return [_lesion(findings.volume, components, index, extent, with_lobes) for index, extent in measured]


def _ras(volume: Volume, place: Sequence[float]) -> tuple[float, float, float]:
    """Millimetres in RAS+ of a slice, row and column, from 0."""
    x, y, z, _ = volume.axial_affine @ [*place, 1]
    return float(x), float(y), float(z)


def _lesion(volume: Volume, components: Components, index: int, extent: Extent, with_lobes: bool) -> Lesion:
    sums = components.sums[index]
    voxels, sized = float(sums[VOXELS]), volume.source.kind != "image"
    deep = len(volume.axial()) > 1
    centre = _ras(volume, sums[SLICE : COLUMN + 1] / voxels)
    ends = [_ras(volume, [extent.slice, *end]) for end in extent.ends]
    in_lobe = sums[IN_LOBE:]
    lobe = Missing("not computed: in no lobe") if not in_lobe[1:].any() else LOBES[int(in_lobe[1:].argmax())]
    return Lesion(
        number=index + 1,
        side="right" if sums[IN_RIGHT] * 2 >= voxels else "left",
        lobe=lobe if with_lobes else NO_LOBES,
        volume_ml=voxels * volume.voxel_ml if sized else NO_SIZE,
        axial_diameter_mm=extent.axial_mm if sized else NO_SIZE,
        axial_diameter_slice=extent.slice + 1,
        axial_diameter_from_ras_mm=ends[0] if sized else NO_SIZE,
        axial_diameter_to_ras_mm=ends[1] if sized else NO_SIZE,
        diameter_mm=NO_SIZE if not sized else extent.mm if deep else ONE_SLICE,
        mean_hu=float(sums[GREY] / voxels) if volume.intensity == "hu" else NO_HU,
        centre_ras_mm=centre if sized else NO_SIZE,
        first_slice=int(components.first[index, 0]) + 1,
        last_slice=int(components.last[index, 0]) + 1,
    )


def _no_lesion(components: Components, settings: MeasurementSettings) -> Missing:
    """The reason why no lesion is listed."""
    if not len(components.sums):
        return NO_LESION
    if not settings.lesions_listed:
        return Missing("not computed: no lesion is listed")
    return Missing(f"not computed: no lesion of {settings.smallest_lesion_ml:g} mL or more")


def _largest(diameters: list[Value], none: Missing) -> Value:
    known = [diameter for diameter in diameters if not isinstance(diameter, Missing)]
    return max(known) if known else diameters[0] if diameters else none


def _scores(parts: list[Region], with_lobes: bool) -> dict[str, Whole]:
    """The three severity scores, sums over lobes."""
    names = ("severity_score", "lung_severity_score", "high_opacity_score")
    if not with_lobes:
        return dict.fromkeys(names, NO_LOBES)
    of_lobes = [part for part in parts if part.name in LOBES]
    empty = [part.name for part in of_lobes if isinstance(part.opacity_percent, Missing)]
    if empty:
        return dict.fromkeys(names, Missing(f"not computed: no voxel of the {', '.join(empty)}"))
    shares = [part.opacity_percent / 100 for part in of_lobes if not isinstance(part.opacity_percent, Missing)]
    high = [part.high_opacity_percent / 100 for part in of_lobes if not isinstance(part.high_opacity_percent, Missing)]
    return {
        "severity_score": sum(map(pan_grade, shares)),
        "lung_severity_score": sum(map(lobe_grade, shares)),
        "high_opacity_score": sum(map(lobe_grade, high)) if high else NO_HU,
    }


def _left_out(findings: tuple[LeftOut, ...]) -> list[str]:
    """A note for each reason why findings were left out."""
    notes = []
    for cause in (EDGE, FAINT):
        volumes = [one.volume_ml for one in findings if one.cause == cause]
        if volumes:
            what = "finding" if len(volumes) == 1 else "findings"
            notes.append(f"{len(volumes)} {what} of {sum(volumes):.1f} mL left out as probably normal ({cause})")
    return notes


def _notes(volume: Volume, parts: list[Region], histograms: Histograms, sized: bool, with_lobes: bool) -> list[str]:
    notes = []
    thickness = volume.axial_spacing[0]
    if not sized:
        notes.append(
            "the pixel size of an image is unknown: no volumes, diameters or positions; every lesion is counted"
        )
    elif len(volume.axial()) == 1:
        notes.append(
            f"one slice, with an assumed thickness of {thickness:g} mm: volumes are of this slice, not of the lungs"
        )
    notes += [f"no {part.name} found" for part in parts[1:3] if isinstance(part.opacity_percent, Missing)]
    if with_lobes:
        lungs = histograms.counts.sum()
        in_lobes = histograms.counts[:, 1:].sum()
        for count, whole, text in (
            (lungs - in_lobes, lungs, "of the lungs lie outside all lobes: the lobes do not add up to the lungs"),
            (
                histograms.lobes_outside,
                in_lobes + histograms.lobes_outside,
                "of the lobes lie outside the lungs and are left out",
            ),
        ):
            if count > MISMATCH * whole:
                notes.append(f"{100 * count / whole:.0f} % {text}")
    return notes


def _pixel_mm2(volume: Volume) -> float:
    """Area of a pixel of an axial slice."""
    rows, columns = volume.axial_affine[:3, 1], volume.axial_affine[:3, 2]
    return float(np.linalg.norm(np.cross(rows, columns)))
