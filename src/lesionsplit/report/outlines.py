"""Raw slices in, their lungs out, and a sheet of them to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lesionsplit.data.lungs import read_lung_slice
from lesionsplit.data.raw import find_lungs_raw
from lesionsplit.errors import DataError
from lesionsplit.images import Grey, Mask, as_float, read_grey, write_image
from lesionsplit.pictures import BACKGROUND, Colour, Tile, grey_tile, label, outline, sheet
from lesionsplit.progress import Progress, silent
from lesionsplit.report.inputs import Outcome, gather

SHEET = "lungs.png"
COLUMNS = 5
SIDE = 260
"""Rows and columns of a picture on the sheet."""

SHOWN = 200
"""Slices on the sheet, evenly chosen where there are more: a picture of thousands cannot be opened."""

COLOUR: Colour = (255, 64, 64)


def write_lungs(
    inputs: Sequence[Path],
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Find the lungs of raw slices; write NAME_lungs.png of each, and a sheet of all.

    Lungs that are there already stay as they are, mended by hand perhaps.

    Args:
        inputs: image files, or folders of them.
        out: the folder to write to.
        overwrite: find again what is there already.
        progress: shows how far it is.
        say: is given a line about each slice that cannot be read or has no lung.

    Raises:
        DataError: an input does not exist, two would be written under one name, or the lungs would go among
            the slices.
    """
    paths = gather(inputs, out, "lungs")
    outcome = Outcome()
    shown = {paths[at] for at in np.unique(np.linspace(0, len(paths) - 1, min(SHOWN, len(paths))).astype(int))}
    tiles: list[Tile] = []
    for path in progress(paths, len(paths), "Finding lungs"):
        file = out / f"{path.stem}_lungs.png"
        try:
            image = read_grey(path)
            if file.exists() and not overwrite:
                lungs = read_lung_slice(path, file).lungs
                outcome.skipped += 1
            else:
                lungs = find_lungs_raw(image)
                write_image(file, np.where(lungs, 255, 0).astype(np.uint8))
                outcome.done += 1
        except DataError as error:
            outcome.failed += 1
            say(str(error) if str(path) in str(error) else f"{path}: {error}")
            continue
        if path in shown:
            tiles.append(label(_tile(image, lungs), path.stem))
    if tiles:
        rows = [tiles[at : at + COLUMNS] for at in range(0, len(tiles), COLUMNS)]
        some = "" if len(paths) <= SHOWN else f", {len(tiles)} of {len(paths)}"
        write_image(out / SHEET, sheet(rows, [f"lungs found{some}", *[""] * (len(rows[0]) - 1)]))
    return outcome


def _tile(image: Grey, lungs: Mask) -> Tile:
    """A slice with the outline of its lungs, brought to a square."""
    scale = SIDE / max(image.shape)
    rows, columns = (max(1, round(side * scale)) for side in image.shape)
    small = Image.fromarray(grey_tile(as_float(image))).resize((columns, rows), Image.Resampling.BILINEAR)
    inside = np.array(Image.fromarray(lungs).resize((columns, rows), Image.Resampling.NEAREST))
    tile = np.full((SIDE, SIDE, 3), BACKGROUND, dtype=np.uint8)
    tile[:rows, :columns] = outline(np.array(small), inside, COLOUR)
    return tile
