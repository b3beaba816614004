"""Find the lungs of raw slices, and draw a contact sheet of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lesionsplit.data.lung_slice import read_lungs
from lesionsplit.errors import one_failure
from lesionsplit.images import Grey, Mask, read_grey, shown, write_bytes, write_image
from lesionsplit.lungs.find import find_lungs_in_slice
from lesionsplit.pipeline.fingerprint import content
from lesionsplit.pipeline.inputs import Outcome, gather
from lesionsplit.progress import Progress, silent
from lesionsplit.tiles import BACKGROUND, Colour, Tile, grey_tile, label, outline, tile_grid

SHEET = "lungs.png"
COLUMNS = 5
SIDE = 260
"""Rows and columns of a tile on the sheet."""

SHOWN = 200
"""Maximum number of slices on the sheet, evenly spaced: an image of thousands is too large to open."""

SLICE = "sha256 of the slice"
"""Key of a text in a PNG file of lungs."""

COLOUR: Colour = (255, 64, 64)


def write_lungs(
    inputs: Sequence[Path],
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Find the lungs of raw slices with the lung network; write NAME_lungs.png for each, and a sheet of all.

    Existing lungs, perhaps corrected by hand, are kept, with a line if their slice is another one now.

    Args:
        inputs: image files, or folders of them.
        out: the folder to write to.
        overwrite: replace existing lungs.
        progress: receives the slices.
        say: receives a line about each slice that cannot be read or has no lung.

    Raises:
        DataError: there is no image, two inputs have the same name, or the output folder holds the slices.
    """
    outcome = Outcome()

    def refuse(line: str) -> None:
        outcome.failed += 1
        say(line)

    paths = gather(inputs, out, "lungs", refuse)
    shown = {paths[at] for at in np.unique(np.linspace(0, len(paths) - 1, min(SHOWN, len(paths))).astype(int))}
    tiles: list[Tile] = []
    for path in progress(paths, len(paths), "Finding lungs"):
        file = out / f"{path.stem}_lungs.png"
        try:
            image = read_grey(path)
            if file.exists() and not overwrite:
                lungs = read_lungs(file, image)
                outcome.skipped += 1
                if _of_another(file, path):
                    say(f"{path}: has changed since {file} was found; look at it, or find all anew with --overwrite")
            else:
                lungs = find_lungs_in_slice(image, path=path)
                write_bytes(file, _signed(lungs, path))
                outcome.done += 1
            if path in shown:
                tiles.append(label(_tile(image, lungs), path.stem))
        except Exception as error:
            refuse(one_failure(error, str(path)))
    if tiles:
        rows = [tiles[at : at + COLUMNS] for at in range(0, len(tiles), COLUMNS)]
        shown_of = "" if len(paths) <= SHOWN else f", {len(tiles)} of {len(paths)}"
        write_image(out / SHEET, tile_grid(rows, [f"lungs found{shown_of}", *[""] * (len(rows[0]) - 1)]))
    return outcome


def _signed(lungs: Mask, path: Path) -> bytes:
    """Lungs as PNG that says in which slice they were found."""
    said, buffer = PngInfo(), io.BytesIO()
    said.add_text(SLICE, content([path]))
    Image.fromarray(np.where(lungs, 255, 0).astype(np.uint8)).save(buffer, format="PNG", pnginfo=said)
    return buffer.getvalue()


def _of_another(lungs: Path, path: Path) -> bool:
    """Whether lungs were found in another slice; False if they do not say it, as after a change by hand."""
    now = content([path])
    with Image.open(lungs) as image:
        return str(image.info.get(SLICE, now)) != now


def _tile(image: Grey, lungs: Mask) -> Tile:
    """A slice with the outline of its lungs, scaled to a square."""
    scale = SIDE / max(image.shape)
    rows, columns = (max(1, round(side * scale)) for side in image.shape)
    small = Image.fromarray(grey_tile(shown(image))).resize((columns, rows), Image.Resampling.BILINEAR)
    inside = np.array(Image.fromarray(lungs).resize((columns, rows), Image.Resampling.NEAREST))
    tile = np.full((SIDE, SIDE, 3), BACKGROUND, dtype=np.uint8)
    tile[:rows, :columns] = outline(np.array(small), inside, COLOUR)
    return tile
