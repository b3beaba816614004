"""What a label for each scan costs, against a label for each slice: the phantom drawn as volumes.

Each drawn person has a scan without lesion and a scan of which some slices show lesions. `lesionsplit prepare` makes
one data set with the scan's label for every slice, and one with the known label of each slice; a network of each is
trained, and judged by the masks of the test patients' slices that show lesions (pooled pixel average precision).

    python experiments/series_labels.py build/series-labels --patients 30 --config CONFIG --seeds 0 1
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from lesionsplit.images import Float, Mask
from lesionsplit.phantom.anatomy import Subject
from lesionsplit.phantom.lesions import FREQUENCIES, KINDS, Lesion, add_lesions
from lesionsplit.training.lungs.phantom_volumes import HU_A_LEVEL, LUNG_GREY, LUNG_HU, SIZE, _body

SLICES, REACH = 14, 0.075
"""Axial slices of a scan, and their distance from the middle one, as a fraction of the lung's height."""

SMALLEST = 30
"""Pixels of lesion from which a slice is labelled as one with lesion."""

MM = 1.7


def draw_scan(number: int, ill: bool) -> tuple[Float, Mask]:
    """HU and lesions of a person, (slices, rows, columns), from the feet up. Lesions begin within the scan."""
    person, rng = np.random.default_rng((7, number)), np.random.default_rng((8, number, ill))
    middle = float(rng.uniform(0.25, 0.8))
    subject = Subject(person, SIZE, middle)
    heights = np.linspace(middle + REACH, middle - REACH, SLICES)  # height 0 is the apex
    lesions = []
    if ill:
        at = float(rng.choice([heights[1], heights[-2]]))
        kinds = [KINDS[one] for one in rng.choice(len(KINDS), size=1 + rng.poisson(0.7), p=FREQUENCIES)]
        lesions = [Lesion(rng, subject, at, kind) for kind in kinds]
    hu, extents = [], []
    for height in map(float, heights):
        healthy = subject.healthy(height)
        part = add_lesions(healthy, lesions, height)
        body = _body(np.random.default_rng((9, number, ill)), subject, healthy.lungs, height)
        grey = healthy.grey + part.added
        image = np.where(healthy.lungs, LUNG_HU + HU_A_LEVEL * (grey - LUNG_GREY), body)
        image = ndimage.gaussian_filter(image, 0.5) + 10 * rng.standard_normal(image.shape)
        hu.append(np.rint(image).astype(np.int16))
        extents.append(part.extent)
    return np.stack(hu), np.stack(extents)


def save(path: Path, slices: np.ndarray) -> None:
    """(slices, rows, columns), rows to the back and columns to the left, as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(slices.transpose(2, 1, 0), np.diag([-MM, -MM, 2.5, 1.0])), path)


def draw(folder: Path, patients: int) -> None:
    """Scans, masks, and the two tables of labels."""
    series, each = [], []
    for number in range(patients):
        for ill in (False, True):
            name = f"{'ill' if ill else 'well'}-{number:03d}"
            hu, extent = draw_scan(number, ill)
            save(folder / "scans" / f"{name}.nii.gz", hu)
            if ill:
                save(folder / "masks" / f"{name}.nii.gz", extent.astype(np.uint8))
            shown = extent.sum(axis=(1, 2)) >= SMALLEST
            series.append((name, "lesion" if ill else "normal", "", "", number))
            for at, one in enumerate(shown, 1):
                if one or not extent[at - 1].any():  # no label fits a trace of lesion
                    each.append((name, "lesion" if one else "normal", at, at, number))
    for table, rows in (("series.csv", series), ("slice.csv", each)):
        with (folder / table).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("scan", "label", "first", "last", "patient"))
            writer.writerows(rows)


def run(*words: object) -> None:
    """A command of lesionsplit."""
    subprocess.run([sys.executable, "-m", "lesionsplit", *map(str, words)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--config", default="demo")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    given = parser.parse_args()
    if not (given.folder / "slice.csv").exists():
        draw(given.folder, given.patients)
    for kind in ("series", "slice"):
        data = given.folder / kind
        masks = f"exact={given.folder / 'masks'}"
        run(
            "prepare", given.folder / "scans", "--labels", given.folder / f"{kind}.csv", "--masks", masks, "--out", data
        )
        for seed in given.seeds:
            to = given.folder / f"{kind}-{seed}"
            options = [word for one in given.set for word in ("--set", one)]
            if not (to / "weights.safetensors").exists():
                run("train", data, "--run", to, "--config", given.config, "--set", f"seed={seed}", *options)
            run("evaluate", given.folder / "slice", "--weights", to / "weights.safetensors", "-o", to / "evaluation")


if __name__ == "__main__":
    main()
