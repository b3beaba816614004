"""All numbers of a volume that was taken apart, in two walks through it, a few slices in memory."""

from __future__ import annotations

import numpy as np

from lesionsplit.measures import lobes as lobe_maps
from lesionsplit.measures.components import COLUMN, GREY, IN_LOBE, IN_RIGHT, SLICE, VOXELS, Components, Tally
from lesionsplit.measures.diameters import Extent, extents
from lesionsplit.measures.histograms import Histograms
from lesionsplit.measures.lobes import LOBES
from lesionsplit.measures.profiles import Profiler
from lesionsplit.measures.regions import regions
from lesionsplit.measures.result import (
    NO_HU,
    NO_LESION,
    NO_LOBES,
    NO_LUNG,
    NO_SIZE,
    ONE_SLICE,
    Lesion,
    Measures,
    Missing,
    Profile,
    Region,
    Value,
    Whole,
)
from lesionsplit.measures.settings import MeasureSettings
from lesionsplit.measures.severity import lobe_grade, pan_grade
from lesionsplit.measures.slabs import slabs
from lesionsplit.volumes.findings import TOP, Findings
from lesionsplit.volumes.volume import Volume, Voxels

NO_SCORE = Missing("not computed: no slice with enough lung")

APART = 0.05
"""Share of the lungs in no lobe, or of the lobes in no lung, from which a note says so."""


def measure(
    findings: Findings,
    settings: MeasureSettings = MeasureSettings(),  # noqa: B008 - it is immutable
    lobes: Voxels | None = None,
) -> Measures:
    """Measure what was found.

    Lesion means lesion inside the lungs. Sizes are of the patient, from the affine, whatever the
    order, direction, obliqueness or shear of the volume's axes. Memory holds about 16 slices,
    however many there are, as long as the findings' arrays lie on disk.

    Args:
        findings: the volume and the arrays on its grid.
        settings: where Hounsfield units are cut, which lesions count.
        lobes: (I, J, K), labels as `measures.lobes` lists them; None: what needs lobes is not computed.

    Raises:
        DataError: the lobes are on another grid, have other labels or lie in the wrong lung; a voxel of
            the lungs is not a number.
    """
    volume = findings.volume
    if lobes is not None:
        lobe_maps.check_shape(lobes, volume.shape)
    sized, hounsfield = volume.source.kind != "image", volume.intensity == "hu"
    counted, tally = Histograms(), Tally()
    profiler = Profiler(settings.smallest_slice_mm2 / _pixel_mm2(volume))
    for slab in slabs(findings, lobes):
        counted.add(slab)
        tally.add(slab)
        profiler.add(slab)
    if lobes is not None:
        lobe_maps.check_sides(counted.counts.sum(axis=(2, 3)))
    parts = regions(counted, volume.voxel_ml if sized else None, hounsfield, lobes is not None, settings)
    components = tally.components()
    none = _none(components, settings)
    large = _large(components, settings.smallest_lesion_ml / volume.voxel_ml if sized else 0.0)
    lesions = _lesions(findings, components, min(large, settings.lesions_listed), lobes is not None)
    small = float(components.sums[large:, VOXELS].sum())
    affected, lungs = np.flatnonzero(profiler.lesion), int(np.count_nonzero(profiler.lung))
    worst = int(np.argmax(profiler.lesion))
    own_notes = _notes(volume, parts, counted, sized, lobes is not None)
    scored = [score for score in profiler.score if score is not None]
    return Measures(
        name=volume.source.name,
        regions=parts,
        lesion_count=large,
        small_lesion_count=len(components.sums) - large,
        small_lesions_ml=small * volume.voxel_ml if sized else NO_SIZE,
        largest_axial_diameter_mm=_largest([lesion.axial_diameter_mm for lesion in lesions], none),
        largest_diameter_mm=_largest([lesion.diameter_mm for lesion in lesions], none),
        slices=len(profiler.lung),
        lung_slices=lungs,
        lesion_slices=len(affected),
        lesion_slices_percent=100 * len(affected) / lungs if lungs else NO_LUNG,
        first_lesion_slice=int(affected[0]) + 1 if len(affected) else NO_LESION,
        last_lesion_slice=int(affected[-1]) + 1 if len(affected) else NO_LESION,
        most_affected_slice=worst + 1 if len(affected) else NO_LESION,
        most_affected_percent=100 * profiler.lesion[worst] / profiler.lung[worst] if len(affected) else NO_LESION,
        **_scores(parts, lobes is not None),
        threshold=findings.threshold,
        highest_score=profiler.highest / TOP if profiler.highest >= 0 else NO_LUNG,
        highest_slice_score=max(scored) if scored else NO_SCORE,
        highest_score_slice=profiler.score.index(max(scored)) + 1 if scored else NO_SCORE,
        lesions=lesions,
        profile=Profile(lung_pixels=profiler.lung, lesion_pixels=profiler.lesion, score=profiler.score),
        settings=settings,
        notes=[*dict.fromkeys([*volume.source.notes, *findings.notes, *own_notes])],
    )


def _large(components: Components, smallest: float) -> int:
    """How many have at least ``smallest`` voxels; one that has just as many is not lost to rounding."""
    return int(np.count_nonzero(components.sums[:, VOXELS] >= smallest * (1 - 1e-9)))


def _lesions(findings: Findings, components: Components, count: int, with_lobes: bool) -> list[Lesion]:
    measured = zip(
        extents(findings, components, count), components.sums, components.first, components.last, strict=False
    )
    return [_lesion(findings.volume, number, with_lobes, *one) for number, one in enumerate(measured, 1)]


def _lesion(
    volume: Volume, number: int, with_lobes: bool, extent: Extent, sums: np.ndarray, first: int, last: int
) -> Lesion:
    voxels, sized = float(sums[VOXELS]), volume.source.kind != "image"
    deep = len(volume.axial()) > 1
    centre = volume.axial_affine @ [*(sums[SLICE : COLUMN + 1] / voxels), 1]
    in_lobe = sums[IN_LOBE:]
    lobe = Missing("not computed: in no lobe") if not in_lobe[1:].any() else LOBES[int(in_lobe[1:].argmax())]
    return Lesion(
        number=number,
        side="right" if sums[IN_RIGHT] * 2 >= voxels else "left",
        lobe=lobe if with_lobes else NO_LOBES,
        volume_ml=voxels * volume.voxel_ml if sized else NO_SIZE,
        axial_diameter_mm=extent.axial_mm if sized else NO_SIZE,
        axial_diameter_slice=extent.slice + 1,
        diameter_mm=NO_SIZE if not sized else extent.mm if deep else ONE_SLICE,
        mean_hu=float(sums[GREY] / voxels) if volume.intensity == "hu" else NO_HU,
        centre_ras_mm=(float(centre[0]), float(centre[1]), float(centre[2])) if sized else NO_SIZE,
        first_slice=int(first) + 1,
        last_slice=int(last) + 1,
    )


def _none(components: Components, settings: MeasureSettings) -> Missing:
    """Why no lesion is listed, where none is."""
    if not len(components.sums):
        return NO_LESION
    if not settings.lesions_listed:
        return Missing("not computed: no lesion is listed")
    return Missing(f"not computed: no lesion of {settings.smallest_lesion_ml:g} mL or more")


def _largest(diameters: list[Value], none: Missing) -> Value:
    known = [diameter for diameter in diameters if not isinstance(diameter, Missing)]
    return max(known) if known else diameters[0] if diameters else none


def _scores(parts: list[Region], with_lobes: bool) -> dict[str, Whole]:
    """The three sums over lobes."""
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


def _notes(volume: Volume, parts: list[Region], counted: Histograms, sized: bool, with_lobes: bool) -> list[str]:
    notes = []
    thickness = volume.axial_spacing[0]
    if not sized:
        notes.append("an image says nothing of its size: no volumes, diameters or places; every lesion is counted")
    elif len(volume.axial()) == 1:
        notes.append(f"one slice, taken as {thickness:g} mm thick: volumes are of that slice, not of the lungs")
    notes += [f"no {part.name} found" for part in parts[1:3] if isinstance(part.opacity_percent, Missing)]
    if with_lobes:
        lungs = counted.counts.sum()
        in_lobes = counted.counts[:, 1:].sum()
        for count, whole, text in (
            (lungs - in_lobes, lungs, "of the lungs lie in no lobe: lobes do not add up to the lungs"),
            (counted.lobes_outside, in_lobes + counted.lobes_outside, "of the lobes lie outside the lungs, left out"),
        ):
            if count > APART * whole:
                notes.append(f"{100 * count / whole:.0f} % {text}")
    return notes


def _pixel_mm2(volume: Volume) -> float:
    """Square millimetres of a pixel of an axial slice."""
    rows, columns = volume.axial_affine[:3, 1], volume.axial_affine[:3, 2]
    return float(np.linalg.norm(np.cross(rows, columns)))
