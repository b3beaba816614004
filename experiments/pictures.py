"""Pictures of real slices for the documentation: `python experiments/pictures.py COVID-NY-SBU OUT`.

OUT/ny-sbu.png has all slices of the folder, OUT/example.png four of them: the lungs, the scores with the lesion
outlined, and the healthy version.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import lesionsplit
from lesionsplit.images import Float, resize
from lesionsplit.tiles import Tile, grey_tile, label, outline, overlay_tile, tile_grid

EXAMPLE = ("A002304_19001231-076", "A002304_19010112-135", "A098752_19001231-32", "A098752_19010127-128")
WINDOW = (-1350.0, 150.0)
"""HU of black and white."""

RIGHT, LEFT, LESION = (120, 190, 230), (90, 220, 170), (255, 70, 70)
HEADINGS = ("lungs", "found", "healthy version")
SIDE = 384
"""Pixels of a tile."""


def tiles(path: Path) -> tuple[Tile, Tile, Tile]:
    """The three tiles of a DICOM slice."""
    result = lesionsplit.predict(path)

    def upright(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Float:
        return np.squeeze(array, 2).T.astype(np.float32)  # rows and columns, from (I, J, 1)

    def grey(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Float:
        hu = resize(upright(array), (SIDE, SIDE))
        return (hu - WINDOW[0]) / (WINDOW[1] - WINDOW[0])

    right = resize(upright(result.lungs == 1), (SIDE, SIDE)) > 0.5
    left = resize(upright(result.lungs == 2), (SIDE, SIDE)) > 0.5
    lesion = resize(upright(result.lesion), (SIDE, SIDE)) > 0.5
    slice_tile = grey_tile(grey(result.image))
    found = overlay_tile(grey(result.image), resize(upright(result.score), (SIDE, SIDE)))
    return (
        label(outline(outline(slice_tile, right, RIGHT), left, LEFT), path.stem),
        outline(found, lesion, LESION),
        grey_tile(grey(result.healthy)),
    )


def main() -> None:
    folder, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    rows = {path.stem: tiles(path) for path in sorted(folder.glob("*.dcm"))}
    for name, chosen in (("ny-sbu", tuple(rows)), ("example", EXAMPLE)):
        pairs = zip(chosen[::2], chosen[1::2], strict=True)
        page = tile_grid([[*rows[one], *rows[other]] for one, other in pairs], HEADINGS * 2)
        smaller = page.resize((1288, round(page.height * 1288 / page.width)))
        smaller.quantize(256).save(out / f"{name}.png", optimize=True)  # a third of the bytes


if __name__ == "__main__":
    main()
