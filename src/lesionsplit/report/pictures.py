"""The picture that every viewer shows: the slices with most lesion, their healthy versions, the numbers, the notes."""

from __future__ import annotations

import textwrap
from importlib.metadata import version
from typing import Final, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lesionsplit.images import Float, Mask, resize
from lesionsplit.measurements.result import LEFT_LUNG, LUNGS, RIGHT_LUNG, Measurements, Missing, Value
from lesionsplit.report.page.slices import OUTLINE
from lesionsplit.report.page.summary import forget_all, most_affected, survey
from lesionsplit.report.page.window import window_of
from lesionsplit.tiles import BACKGROUND, TEXT, Colour, Tile, grey_tile, outline, overlay_tile
from lesionsplit.volumes.decomposed import TOP, DecomposedVolume

TILE, GAP, LINE = 416, 8, 26
"""Pixels: of a slice's longer side, between slices, and from a line of text to the next."""

MOST: Final = 3
"""Slices."""

MOST_NOTES: Final = 8
"""Lines of notes."""

SOFT = (170, 178, 186)
WARNING = (255, 214, 110)
LARGE, NORMAL = ImageFont.load_default(size=24), ImageFont.load_default(size=18)


def key_picture(findings: DecomposedVolume, measures: Measurements) -> Tile:
    """Draw the picture of a result, (rows, columns, 3), without the patient's name: text over `key_slices`.

    Args:
        findings: the decomposed volume.
        measures: its measurements.
    """
    slices = key_slices(findings)
    lines = _lines(measures)
    above = LINE * (len(lines) + 1) + GAP
    page = Image.new("RGB", (slices.shape[1], above + slices.shape[0]), BACKGROUND)
    draw = ImageDraw.Draw(page)
    top = GAP
    for text, colour, font in lines:
        draw.text((GAP * 2, top), text, fill=colour, font=font)
        top += LINE + (8 if font is LARGE else 0)
    page.paste(Image.fromarray(slices), (0, above))
    tile: Tile = np.asarray(page)
    return tile


def key_slices(findings: DecomposedVolume) -> Tile:
    """The slices with most lesion, outlined, over their healthy versions: (rows, columns, 3)."""
    volume = findings.volume
    seen = survey(findings)
    cut = (slice(*seen.box.rows), slice(*seen.box.columns))
    height = (seen.box.rows[1] - seen.box.rows[0]) * volume.axial_spacing[1]
    width = (seen.box.columns[1] - seen.box.columns[0]) * volume.axial_spacing[2]
    scale = TILE / max(height, width)
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    shown = window_of(volume)
    row = shape[0] + LINE + GAP
    page = Image.new("RGB", (MOST * (TILE + GAP) + 3 * GAP, 2 * row), BACKGROUND)
    draw = ImageDraw.Draw(page)
    for column, number in enumerate(most_affected(seen, volume.axial_spacing[0], MOST)):
        original, healthy, score, lesion = (
            np.asarray(volume.axial(array)[number][cut])
            for array in (volume.array, findings.healthy, findings.score, findings.lesion)
        )
        left = GAP * 2 + column * (TILE + GAP)
        grey: Float = resize(shown.share(original), shape)
        scores = resize(score.astype(np.float32) / np.float32(TOP), shape)
        mask: Mask = resize((lesion > 0).astype(np.float32), shape) >= 0.5
        draw.text((left, 0), f"Slice {number + 1}, lesion", fill=TEXT, font=NORMAL)
        page.paste(Image.fromarray(outline(overlay_tile(grey, scores), mask, OUTLINE)), (left, LINE))
        draw.text((left, row), f"Slice {number + 1}, healthy version (computed)", fill=TEXT, font=NORMAL)
        page.paste(Image.fromarray(grey_tile(resize(shown.share(healthy), shape))), (left, row + LINE))
    forget_all(findings)
    tile: Tile = np.asarray(page)
    return tile


Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _lines(measures: Measurements) -> list[tuple[str, Colour, Font]]:
    both = measures.region(LUNGS)
    sides = ", ".join(
        f"{name.removesuffix(' lung')} {_shown(measures.region(name).opacity_percent, '%')}"
        for name in (RIGHT_LUNG, LEFT_LUNG)
    )
    found = (
        f"Lesion {_shown(both.lesion_ml, 'mL')}, {_shown(both.opacity_percent, '% of the lungs')} ({sides}), "
        f"mean {_shown(both.lesion_mean_hu, 'HU', 0)}"
    )
    count = measures.lesion_count
    lesions = f"{count} lesion{'s' if count != 1 else ''}"
    if count:
        lesions += f", the largest {_shown(measures.largest_axial_diameter_mm, 'mm')} across in an axial slice"
    program = f"lesionsplit {version('lesionsplit')}"
    warning = f"Research use only, not for diagnosis. {program}, found automatically, not reviewed."
    lines: list[tuple[str, Colour, Font]] = [(found, TEXT, LARGE), (lesions, TEXT, NORMAL), (warning, WARNING, NORMAL)]
    notes = [line for note in measures.notes for line in textwrap.wrap(note, 130)]
    lines += [(line, SOFT, NORMAL) for line in notes[:MOST_NOTES]]
    if len(notes) > MOST_NOTES:
        lines.append(("More notes are in the report.", SOFT, NORMAL))
    return lines


def _shown(value: Value, unit: str, digits: int = 1) -> str:
    return str(value) if isinstance(value, Missing) else f"{value:.{digits}f} {unit}"
