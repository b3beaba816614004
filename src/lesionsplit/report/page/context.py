"""The variables of the page's template, as plain data: text, numbers and images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionsplit.measurements.result import Measurements, Missing
from lesionsplit.report.page.embed import Embedded
from lesionsplit.report.page.numbers import figures, tables, with_unit
from lesionsplit.report.page.slices import OUTLINE, SliceImages
from lesionsplit.report.page.summary import Survey
from lesionsplit.report.page.window import SOFT_TISSUE, Shown
from lesionsplit.tiles import heat_tile
from lesionsplit.volumes.decomposed import DecomposedVolume

STEPS = 200
"""Steps of the threshold's slider, from 0 to 1."""

GOALS = 12
"""The most lesions in the viewer's list of places."""

NO_VIEWER = "this installation of lesionsplit was built without the viewer, because npm was missing or failed"
GLASS = {
    "low": -1000,
    "high": 0,
    "colours": {
        "R": [120, 160, 190, 120],
        "G": [150, 190, 210, 120],
        "B": [180, 215, 225, 120],
        "A": [0, 2, 13, 0],
        "I": [0, 60, 150, 255],
    },
}
"""Colours of the 3-D view: HU from transparent to transparent, with a faint surface of the lungs between them."""

WORDS = {
    "wipe": "Original on the left of the line, healthy version on the right. Arrow keys: left and right move the "
    "line, up and down choose the slice.",
    "beside": "Original on the left, healthy version on the right. Arrow keys up and down choose the slice.",
}


def context(
    findings: DecomposedVolume,
    measures: Measurements,
    seen: Survey,
    slices: Sequence[SliceImages],
    embedded: Embedded | None,
    shown: Shown,
) -> dict[str, Any]:
    """The template's variables, except for the arguments of `page.write_page` and inlined files.

    Args:
        findings: the decomposed volume.
        measures: its numbers.
        seen: the survey of the findings.
        slices: the slices to show, from the head down.
        embedded: volumes for the viewer; None without a viewer.
        shown: the window of the images.
    """
    volume = findings.volume
    sized, hounsfield = volume.source.kind != "image", volume.intensity == "hu"
    threshold = f"{findings.threshold:.3g}"
    affected = bool(seen.lesion.any())
    worst = int(np.argmax([seen.lesion[one.number - 1] for one in slices]))
    single = len(seen.lungs) == 1
    windows = [("Lung", shown), ("Soft tissue", SOFT_TISSUE)] if hounsfield else [("All", shown)]
    return {
        "figures": figures(measures),
        "notes": measures.notes,
        **tables(measures),
        "embedded": embedded,
        "embedded_spacing": _grid_words(embedded.spacing) if embedded else "",
        "no_viewer": NO_VIEWER,
        "single": single,
        "sized": sized,
        "threshold": threshold,
        "threshold_exact": findings.threshold,
        "step": 1 / STEPS,
        "windows": [{"name": name, "level": f"{one.level:g}", "width": f"{one.width:g}"} for name, one in windows],
        "window_words": _window_words(shown if hounsfield else None),
        "goals": [goal for goal, _ in _goals(measures)],
        "slices": [_tile(one) for one in slices],
        "slices_heading": "Most affected slices" if affected else "Slices (no lesion was found)",
        "affected": affected,
        "worst": worst,
        "count": len(seen.lungs),
        "profile": None if single else _profile(seen, [one.number for one in slices]),
        "lungs_from": findings.lungs_from,
        "grid": _grid(findings, sized),
        "intensity": "Hounsfield units" if hounsfield else "grey on an unknown scale; HU are not available",
        "data": {
            "threshold": findings.threshold,
            "volumes": seen.volumes_ml(STEPS, volume.voxel_ml),
            "lesion": float(seen.lesion.sum()) * volume.voxel_ml,
            "lungs": float(seen.lungs.sum()) * volume.voxel_ml,
            "sized": sized,
            "hu": hounsfield,
            "windows": [{"low": one.low, "high": one.high} for _, one in windows],
            "goals": [place for _, place in _goals(measures)],
            "start": next((place for _, place in _goals(measures)), None),
            "worst": worst,
            "slices": [_which(one, len(seen.lungs), sized) for one in slices],
            "heat": _heat_table(),
            "outline": _outline_table(),
            "glass": GLASS,
            "words": {**WORDS, "threshold": threshold},
        },
    }


def _goals(measures: Measurements) -> Iterator[tuple[dict[str, str], tuple[float, float, float]]]:
    """Lesions with a known position in the patient, and what was left out; each the largest first."""
    for lesion in measures.lesions[:GOALS]:
        if not isinstance(lesion.centre_ras_mm, Missing):
            name = f"Lesion {lesion.number}: {with_unit(lesion.volume_ml, 'mL')}, {lesion.side} lung"
            yield {"name": name}, lesion.centre_ras_mm
    for one in measures.left_out[:GOALS]:
        name = f"Left out, probably normal: {with_unit(one.volume_ml, 'mL')}, {one.side} lung"
        yield {"name": name}, one.centre_ras_mm


def _tile(one: SliceImages) -> dict[str, Any]:
    names = ("number", "width", "height", "original", "healthy", "heat", "outline")
    images = {name: getattr(one, name) for name in names}
    share = f"{one.lesion_percent:.1f}" if one.lesion_percent >= 0.05 or not one.lesion_percent else "< 0.1"
    return {**images, "place": _signed(one.position_mm), "share": share, "score": f"{one.peak:.2f}"}


def _which(one: SliceImages, count: int, sized: bool) -> str:
    place = f" · z {_signed(one.position_mm)} mm" if sized else ""
    return f"Slice {one.number} of {count}{place}"


def _signed(millimetres: float) -> str:
    return f"{millimetres:.1f}".replace("-", "−")


def _window_words(window: Shown | None) -> str:
    if window is None:
        return "Window: from the 0.5th to the 99.5th percentile of the grey values."
    return f"Shown in a lung window, level {window.level:g} and width {window.width:g} HU.".replace("-", "−")


def _grid_words(spacing: Sequence[float]) -> str:
    return " × ".join(f"{step:.3g}" for step in spacing) + " mm"


def _grid(findings: DecomposedVolume, sized: bool) -> str:
    volume = findings.volume
    voxels = " × ".join(map(str, volume.shape)) + " voxels"
    return f"{voxels} of {_grid_words(volume.spacing)}" if sized else f"{voxels} of unknown size"


def _profile(seen: Survey, shown: Sequence[int]) -> dict[str, Any]:
    """Bars of lung and of lesion in each slice, each with its own scale, as paths of height 60, feet first."""
    most, worst = int(seen.lesion.max()), int(seen.lesion.argmax())
    return {
        "width": len(seen.lungs),
        "lung": _bars(seen.lungs / max(1, int(seen.lungs.max()))),
        "lesion": _bars(seen.lesion / max(1, most) * 0.6),
        "top": f"{100 * most / max(1, int(seen.lungs[worst])):.1f}",
        "marks": [number - 1 for number in shown],
    }


def _bars(shares: npt.NDArray[np.float64]) -> str:
    steps = "".join(f"V{60 - 58 * share:.1f}h1" for share in shares)
    return f"M0 60{steps}V60Z"


def _heat_table() -> dict[str, list[int]]:
    """The heat map's colours for the viewer; the opacity comes from the score."""
    places = np.linspace(0, 1, 17, dtype=np.float32)
    colours = heat_tile(places[None])[0]
    table = {name: [int(level) for level in colours[:, channel]] for channel, name in enumerate("RGB")}
    return {**table, "A": [0] + [255] * 16, "I": [int(level) for level in np.rint(places * 255)]}


def _outline_table() -> dict[str, list[int]]:
    """The outline's colours for the viewer: transparent for 0, one colour for all other values."""
    colour = {name: [level] * 3 for name, level in zip("RGB", OUTLINE, strict=True)}
    return {**colour, "A": [0, 255, 255], "I": [0, 1, 255]}
