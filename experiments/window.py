"""Estimate the window of covid-cell's grey scale: `python experiments/window.py ../shared/data/covid-cell`.

Measures the grey of lung in normal slices of the train split (image labels only, no mask): the median of
each slice, and where the peak of blood and muscle begins. Prints the grey of both under
`inference.hu_window.HU_WINDOW` and under other common lung windows.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import read_table
from lesionsplit.inference.hu_window import HU_WINDOW, Window

EVERY = 8
MARGIN = 3
"""Pixels at the lungs' edge that are left out: they are partly chest wall."""

LANDMARKS = {"normal lung": -850.0, "blood and muscle": 40.0}
OTHERS = {
    "1500 about -700": HU_WINDOW,
    "1500 about -600": Window(lowest=-1350, highest=150),
    "1600 about -600": Window(lowest=-1400, highest=200),
    "1200 about -600": Window(lowest=-1200, highest=0),
    "1400 about -500": Window(lowest=-1200, highest=200),
}


def main(data: Path) -> None:
    medians, total = [], np.zeros(256, dtype=np.int64)
    for row in read_table(data).split("train").labelled("normal").slices[::EVERY]:
        grey, lungs = read_slice(row)
        inside = grey[ndimage.binary_erosion(lungs, iterations=MARGIN)]
        if inside.size:
            medians.append(float(np.median(inside)))
            total += np.bincount(inside, minlength=256)
    share = total / total.sum()
    low, middle, high = np.percentile(medians, [10, 50, 90])
    print(f"{len(medians)} normal slices of train, {MARGIN} pixels inside their lungs' edge")
    print(f"median grey of a slice's lung: {middle:.0f} (10 % to 90 % of slices: {low:.0f} to {high:.0f})")
    print(
        "share of lung by grey: " + ", ".join(f"{a}-{a + 9} {share[a : a + 10].sum():.4f}" for a in range(190, 250, 10))
    )
    print(f"  250-254 {share[250:255].sum():.4f}, 255 {share[255]:.4f}: a peak that begins at 240 and is cut at 255")
    for name, window in OTHERS.items():
        grey = {of: float(window.to_grey(np.array(hu))) / 257 for of, hu in LANDMARKS.items()}
        print(f"window {name:16s} " + ", ".join(f"{of} {value:.0f}" for of, value in grey.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
