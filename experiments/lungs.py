"""Measure how well lungs are found: `python experiments/lungs.py ../shared/data docs/images/lungs.png`.

DATA holds cip-ct64/ with its label map, lidc-idri-0001/, covid-ny-sbu/ and medseg/. Prints Dice on the first
against its label map (lungs are labels 9 to 14 in the lower byte) and on the second against thresholds; the fraction of
MedSeg's lesions inside the lungs; and the fraction of synthetic dense disease (35 HU) in cip-ct64 inside the lungs.
Draws the outlines on sixty slices of the second and on the ten of the third.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from lesionsplit.errors import NoLungError
from lesionsplit.images import Mask, read_grey
from lesionsplit.io.cases import find_cases
from lesionsplit.io.label_maps import read_labels
from lesionsplit.lungs.contact_sheet import COLOURS, contact_sheet
from lesionsplit.lungs.find import LungMethod, find_lungs, find_lungs_in_slice
from lesionsplit.volumes.decomposed import LEFT, RIGHT
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume

PARTS = {LEFT: (9, 10, 11), RIGHT: (12, 13, 14)}
DENSE, NOISE = 35, 20
WIDTH, ACROSS, GREYS = 150, 10, 48


def dice(one: Mask, two: Mask) -> float:
    return float(2 * np.count_nonzero(one & two) / (np.count_nonzero(one) + np.count_nonzero(two)))


def found_in(volume: Volume, scratch: Scratch, using: LungMethod = "network") -> np.ndarray:
    """Labels as axial slices, all 0 if there is no lung."""
    try:
        return np.array(volume.axial(find_lungs(volume, scratch, using=using).labels))
    except NoLungError:
        return np.zeros(volume.axial().shape, np.uint8)


def synthetic_disease(lungs: Mask) -> Iterator[tuple[str, Mask]]:
    """Synthetic disease for lungs, (slices, rows, columns), of about 4 mm."""
    rng = np.random.default_rng(0)
    z, y, x = np.indices(lungs.shape)
    for share in (0.8, 0.65, 0.5):
        level = [np.quantile(y[k][one], share) if one.any() else np.inf for k, one in enumerate(lungs)]
        yield f"fluid, dependent {1 - share:.0%}", lungs & (y > np.array(level)[:, None, None])
    inside = np.argwhere(lungs)
    for radius in (3, 5, 8):
        balls = np.zeros_like(lungs)
        for at in inside[rng.integers(len(inside), size=12)]:
            balls |= np.sqrt((z - at[0]) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2) < radius
        yield f"12 balls of radius {4 * radius} mm", balls & lungs
    cloud = ndimage.gaussian_filter(rng.standard_normal(lungs.shape), 3)
    yield "patches at the pleura", (cloud > 0.3 * cloud.std()) & (ndimage.distance_transform_edt(lungs) < 5) & lungs
    yield "lower part of the right lung", lungs & (x < 32) & (z < 26)


def whole_chest(data: Path, scratch: Scratch) -> None:
    volume = find_cases([data / "cip-ct64" / "dicom"], recursive=False).cases[0].read(scratch)
    parts = np.array(volume.axial(read_labels(data / "cip-ct64" / "lm-64.nrrd", volume, scratch))) & 255
    lungs = (parts >= 9) & (parts <= 14)
    for using in ("network", "thresholds"):
        found = found_in(volume, scratch, using)
        sides = ", ".join(
            f"{name} {dice(found == side, np.isin(parts, PARTS[side])):.3f}"
            for name, side in (("right", RIGHT), ("left", LEFT))
        )
        print(f"cip-ct64, {using}: Dice {dice(found > 0, lungs):.3f} ({sides})")
    rng = np.random.default_rng(0)
    for name, dense in synthetic_disease(lungs):
        axial = np.array(volume.axial())
        axial[dense] = DENSE + rng.normal(0, NOISE, np.count_nonzero(dense)).astype(np.int16)
        ill = replace(volume, array=np.asfortranarray(volume.from_axial(axial)))
        kept = {using: np.mean(found_in(ill, scratch, using)[dense] > 0) for using in ("network", "thresholds")}
        share = np.count_nonzero(dense) / np.count_nonzero(lungs)
        shown = ", ".join(f"{using} {part:.0%}" for using, part in kept.items())
        print(f"cip-ct64 with {name} of 35 HU ({share:.0%} of the lungs): inside {shown}")


def raw_slices(data: Path) -> None:
    classes = {"lesion": (1, 2), "consolidation": (2,)}
    total, inside = dict.fromkeys(classes, 0), dict.fromkeys(classes, 0)
    for path in sorted((data / "medseg" / "images").iterdir()):
        lungs = find_lungs_in_slice(read_grey(path))
        for name, values in classes.items():
            lesion = np.isin(read_grey(data / "medseg" / "masks" / path.name), values)
            total[name] += np.count_nonzero(lesion)
            inside[name] += np.count_nonzero(lungs & lesion)
    for name, count in inside.items():
        print(f"medseg, network: {count / total[name]:.1%} of {name} inside")


def in_few_colours(page: Image.Image) -> Image.Image:
    """Reduce a page to greys and the colours of the outlines, which an automatic palette might lose."""
    greys = np.repeat(np.linspace(0, 255, GREYS).round().astype(np.uint8), 3)
    palette = Image.new("P", (1, 1))
    palette.putpalette([*greys.tolist(), *(value for colour in COLOURS.values() for value in colour)])
    return page.quantize(palette=palette, dither=Image.Dither.NONE)


def sheet(data: Path, scratch: Scratch, out: Path) -> None:
    lidc = find_cases([data / "lidc-idri-0001"], recursive=False).cases[0].read(scratch)
    found = find_lungs(lidc, scratch).labels
    plain = find_lungs(lidc, scratch, using="thresholds").labels
    print(f"lidc-idri-0001, network against thresholds: Dice {dice(found > 0, plain > 0):.3f}")
    pages = [contact_sheet(lidc, found, slices=60, across=ACROSS, width=WIDTH)]
    for case in find_cases([data / "covid-ny-sbu"], recursive=True).cases:
        one = case.read(scratch)
        labels = one.from_axial(found_in(one, scratch))
        pages.append(contact_sheet(one, labels, across=1, width=2 * WIDTH))
    below = max(page.height for page in pages[1:])
    page = Image.new("RGB", (max(pages[0].width, 5 * pages[1].width), pages[0].height + 2 * below))
    page.paste(pages[0], (0, 0))
    for number, one in enumerate(pages[1:]):
        page.paste(one, (number % 5 * pages[1].width, pages[0].height + number // 5 * below))
    out.parent.mkdir(parents=True, exist_ok=True)
    in_few_colours(page).save(out, optimize=True)
    print(f"{out}: inspect it")


def main(data: Path, out: Path) -> None:
    torch.set_num_threads(1)
    with Scratch() as scratch:
        whole_chest(data, scratch)
        raw_slices(data)
        sheet(data, scratch, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
