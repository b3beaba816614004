"""MedSeg's raw COVID slices as a data set that `lesionsplit evaluate` reads, with lungs that we find.

    python experiments/medseg.py MEDSEG OUT
    lesionsplit evaluate OUT --weights WEIGHTS -o OUT/evaluation

Slices are as `lesionsplit predict --intensity 8-bit` shows them to the network: their grey scale estimated from
lung and soft tissue, lungs found by the network in the package. With --plain the grey stays as it is.

MEDSEG holds images/ and masks/, files of the same names, mask values 0 none, 1 ground glass and 2
consolidation. OUT is new. Every slice is its own series, labelled lesion, in split test; mask_any is
both classes, mask_consolidation the denser one. Lungs are found without the masks. Printed is how
much of the lesions lies inside them: what does not is missed by every method.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

from lesionsplit.cli.console import bar, say
from lesionsplit.data.lung_slice import read_lung_slice
from lesionsplit.data.table import TABLE, list_images
from lesionsplit.errors import DataError, LesionsplitError, NoLungError
from lesionsplit.images import Grey, read_grey, write_image
from lesionsplit.inference.hu_window import window_of
from lesionsplit.lungs.find import find_lungs_in_slice
from lesionsplit.lungs.hu_scale import hu_scale_from_grey
from lesionsplit.pipeline.lung_masks import write_lungs

COLUMNS = ("image", "label", "split", "series", "lungs", "mask_any", "mask_consolidation")
CONSOLIDATION = 2


def convert(medseg: Path, out: Path, *, plain: bool) -> list[float]:
    """Write the data set; returns the share of each slice's lesion pixels inside its lungs, and last that of all.

    Raises:
        DataError: there are no slices, a mask is missing, of another shape or has other values, or OUT exists.
    """
    if out.exists():
        raise DataError(f"{out}: exists already; choose a new folder")
    if not (medseg / "images").is_dir():
        raise DataError(f"{medseg}: has no folder images/; give MedSeg's, with images/ and masks/")
    paths = list_images(medseg / "images")
    classes = {path: read_classes(medseg / "masks" / path.name, path) for path in paths}
    if plain:
        write_lungs([medseg / "images"], out / "lungs", progress=bar, say=say)
    else:
        write_network_lungs(paths, out / "lungs")
    rows, inside, lesion = [], [], []
    for path, found in classes.items():
        lungs = out / f"lungs/{path.stem}_lungs.png"
        if not lungs.is_file():  # said already
            continue
        masks = {"any": found > 0, "consolidation": found == CONSOLIDATION}
        grey = read_grey(path)
        write_image(
            out / f"images/{path.stem}.png", grey if plain else window_of(hu_scale_from_grey([grey])).to_grey(grey)
        )
        for name, mask in masks.items():
            write_image(out / f"masks-{name}/{path.stem}.png", np.where(mask, 255, 0).astype(np.uint8))
        files = (f"{folder}/{path.stem}.png" for folder in ("masks-any", "masks-consolidation"))
        rows.append((f"images/{path.stem}.png", "lesion", "test", path.stem, f"lungs/{lungs.name}", *files))
        inside.append(np.count_nonzero(masks["any"] & read_lung_slice(path, lungs).lungs))
        lesion.append(np.count_nonzero(masks["any"]))
    with (out / TABLE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    shares = [part / whole for part, whole in zip(inside, lesion, strict=True) if whole]
    return [*shares, sum(inside) / max(1, sum(lesion))]


def write_network_lungs(paths: list[Path], folder: Path) -> None:
    """Write the lungs that the network finds, named as `lesionsplit lungs` names them."""
    for path in bar(paths, len(paths), "Finding lungs"):
        try:
            lungs = find_lungs_in_slice(read_grey(path))
        except NoLungError as error:
            say(f"{path}: {error}")
            continue
        write_image(folder / f"{path.stem}_lungs.png", np.where(lungs, 255, 0).astype(np.uint8))


def read_classes(mask: Path, image: Path) -> Grey:
    """The classes of a slice's pixels, (rows, columns)."""
    classes = read_grey(mask)
    if classes.max() > CONSOLIDATION:
        raise DataError(f"{mask}: has values up to {classes.max()}; allowed: 0, 1 and 2")
    if classes.shape != read_grey(image).shape:
        raise DataError(f"{mask}: has another shape than {image}")
    return classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("medseg", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--plain", action="store_true", help="grey as it is, lungs by thresholds and morphology")
    options = parser.parse_args()
    try:
        *shares, pooled = convert(options.medseg, options.out, plain=options.plain)
    except LesionsplitError as error:
        sys.exit(f"medseg.py: {error}")
    print(
        f"{pooled:.1%} of all lesion pixels lie inside the lungs; by slice: median {np.median(shares):.1%}, "
        f"lowest {min(shares):.1%}, above 90 % in {sum(share > 0.9 for share in shares)} of {len(shares)}"
    )


if __name__ == "__main__":
    main()
