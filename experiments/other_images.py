"""Images of other things than lungs: three drawn data sets, and three baselines beside a trained network.

    python experiments/other_images.py draw FOLDER
    lesionsplit train FOLDER/fabric --region whole --config quick
    python experiments/other_images.py score runs/fabric  # or: score runs/fabric val

`draw` writes FOLDER/fabric (grey woven cloth), FOLDER/tablets (objects in colour) and FOLDER/cells (fluorescence
microscopy, grey, 16 bit), each with normal/, lesion/ and mask/; 150 images of each label. The masks are for `score`,
which prints, for a split, the pooled average precision of pixels of lesion images, and the AUROC of images by
the mean of the highest hundredth of their scores:

* chance;
* difference: of the smoothed image from the mean of the normal training images;
* mahalanobis: of grey or colour, smoothed, and the size of its gradient, at each pixel, by mean and covariance of the
  normal training images there (as PaDiM, Defard et al. 2021, without a trained network);
* patches: distance of each patch's features to the nearest of a memory of normal ones (as PatchCore, Roth et al. 2022),
  with features of random convolutions, as no trained network is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from lesionsplit.data.masks import read_mask
from lesionsplit.data.table import Split, Table, read_table
from lesionsplit.images import as_float, write_image
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.scores import slice_score

Array = npt.NDArray[np.float64]

SIZE, COUNT, GRID = 150, 150, 128
"""Pixels of a side; images of each label; pixels of a side on which all scores are compared."""

MEMORY, KEPT = 4000, 24
"""Patches in the memory, and random filters."""


def cloud(rng: np.random.Generator, sigma: float) -> Array:
    """Smooth noise of standard deviation 1."""
    noise = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), sigma)
    return np.asarray(noise / noise.std())


def turned(rng: np.random.Generator, margin: int = 25) -> tuple[Array, Array]:
    """Coordinates around a random point, turned at random."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    (cy, cx), angle = rng.uniform(margin, SIZE - margin, 2), rng.uniform(0, np.pi)
    return (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle), (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)


def fabric(rng: np.random.Generator) -> Array:
    """Woven cloth of a random angle, phase and thread width."""
    y, x = np.mgrid[:SIZE, :SIZE]
    angle, period, phase = rng.uniform(-0.1, 0.1), rng.uniform(5.5, 6.5), rng.uniform(0, 6, 2)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    threads = np.sin(2 * np.pi * along / period + phase[0]) + np.sin(2 * np.pi * across / period + phase[1])
    return 0.5 + 0.13 * threads + 0.02 * cloud(rng, 15) + 0.03 * rng.normal(size=(SIZE, SIZE))


def torn(rng: np.random.Generator, cloth: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """A hole, a stain, a loose thread, or a place without weave."""
    a, b = turned(rng)
    kind = rng.integers(4)
    if kind == 0:
        radius = rng.uniform(5, 13)
        mask = (a / radius) ** 2 + (b / (radius * rng.uniform(0.6, 1))) ** 2 < 1
        return np.where(mask, 0.12 + 0.03 * rng.normal(size=a.shape), cloth), mask
    if kind == 1:
        mask = np.hypot(a, b) / rng.uniform(8, 18) + 0.25 * cloud(rng, 4) < 1
        return np.where(mask, cloth - rng.uniform(0.12, 0.25), cloth), mask
    if kind == 2:
        mask = (np.abs(b + 3 * np.sin(a / 9)) < rng.uniform(1.2, 2.5)) & (np.abs(a) < rng.uniform(20, 45))
        return np.where(mask, 0.85, cloth), mask
    mask = (np.abs(a) < rng.uniform(8, 18)) & (np.abs(b) < rng.uniform(6, 14))
    flat = ndimage.gaussian_filter(cloth, 4) + 0.03 * rng.normal(size=a.shape)
    return np.where(mask, flat, cloth), mask


def tablets(rng: np.random.Generator) -> Array:
    """A coated tablet with an engraved line on a belt, in colour, at a random place and angle."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    (cy, cx), angle = SIZE / 2 + rng.uniform(-8, 8, 2), rng.uniform(0, np.pi)
    a, b = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle), (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    away = np.sqrt((a / rng.uniform(50, 55)) ** 2 + (b / rng.uniform(34, 38)) ** 2)
    belt = np.array([0.22, 0.25, 0.28]) + 0.01 * cloud(rng, 2)[..., None]
    colour = np.array([0.85, 0.55, 0.25]) + rng.uniform(-0.03, 0.03, 3)
    light = 1.1 - 0.45 * away**2 - 0.25 * np.exp(-((a / 2.5) ** 2)) * (np.abs(b) < 25)
    inside = np.clip((1 - away) * 25, 0, 1)[..., None]
    image = inside * colour * light[..., None] + (1 - inside) * belt
    return np.asarray(image + 0.012 * rng.normal(size=(SIZE, SIZE, 3)))


def chipped(rng: np.random.Generator, tablet: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """A spot of another colour, a scratch, a chip down to the core, or dust on the belt."""
    a, b = turned(rng, 50)
    kind = rng.integers(4)
    if kind == 0:
        mask = np.hypot(a, b) / rng.uniform(4, 10) + 0.2 * cloud(rng, 3) < 1
        return np.where(mask[..., None], tablet * rng.uniform(0.5, 1.1, 3), tablet), mask
    if kind == 1:
        mask = (np.abs(b + 2 * np.sin(a / 7)) < rng.uniform(0.8, 1.8)) & (np.abs(a) < rng.uniform(12, 28))
        return np.where(mask[..., None], tablet * 0.65, tablet), mask
    if kind == 2:
        mask = (np.maximum(np.abs(a), np.abs(b)) + 2 * cloud(rng, 4)) < rng.uniform(5, 10)
        core = np.array([0.9, 0.88, 0.82]) + 0.04 * rng.normal(size=(SIZE, SIZE, 1))
        return np.where(mask[..., None], core, tablet), mask
    a, b = turned(rng, 10)
    mask = np.hypot(a, b) < rng.uniform(3, 6)
    return np.where(mask[..., None], 0.6 * tablet + 0.25, tablet), mask


def cells(rng: np.random.Generator) -> Array:
    """Round nuclei of about one size, blurred by the microscope."""
    image = 0.06 + 0.01 * cloud(rng, 20)
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    for cy, cx in rng.uniform(0, SIZE, (rng.integers(45, 60), 2)):
        away = np.hypot((y - cy) / rng.uniform(5, 6.5), (x - cx) / rng.uniform(5, 6.5))
        image = np.maximum(image, rng.uniform(0.4, 0.55) * np.clip((1.1 - away) * 4, 0, 1))
    return ndimage.gaussian_filter(image * (1 + 0.05 * cloud(rng, 1.5)), 0.8) + 0.015 * rng.normal(size=image.shape)


def diseased(rng: np.random.Generator, image: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """One to three nuclei that are much larger and of coarse grain, or a nucleus that has burst."""
    mask = np.zeros(image.shape, dtype=bool)
    for _ in range(rng.integers(1, 4)):
        a, b = turned(rng)
        if rng.random() < 0.6:
            here = np.hypot(a / rng.uniform(9, 13), b / rng.uniform(8, 11)) < 1
            grain = 0.4 + 0.12 * cloud(rng, 1.5)
        else:
            here = np.hypot(a, b) / rng.uniform(7, 11) + 0.3 * cloud(rng, 2) < 1
            grain = 0.25 + 0.2 * (cloud(rng, 1.0) > 1)
        soft = ndimage.gaussian_filter(here.astype(float), 1.0)
        image, mask = image * (1 - soft) + soft * grain, mask | here
    return image, mask


SETS: dict[str, tuple[Callable[..., Array], Callable[..., tuple[Array, npt.NDArray[np.bool_]]], int]] = {
    "fabric": (fabric, torn, 8),
    "tablets": (tablets, chipped, 8),
    "cells": (cells, diseased, 16),
}
"""What is drawn, what is wrong with it, and bits."""


def draw(folder: Path) -> None:
    for number, (name, (normal, damaged, bits)) in enumerate(SETS.items()):
        rng = np.random.default_rng(number)
        top, kind = (255, np.uint8) if bits == 8 else (65535, np.uint16)
        for at in range(COUNT):
            image, mask = damaged(rng, normal(rng))
            for label, one in (("normal", normal(rng)), ("lesion", image)):
                write_image(folder / name / label / f"{label}{at:03d}.png", (one.clip(0, 1) * top).astype(kind))
            write_image(folder / name / "mask" / f"lesion{at:03d}.png", (mask * 255).astype(np.uint8))
        print(folder / name)


def read(table: Table, predictor: SlicePredictor) -> Array:
    """The images of a table on the grid, (N, C, H, W)."""
    images = []
    for row in table:
        grey = as_float(predictor.card.kind.read_row(row).grey)
        channels = [grey] if grey.ndim == 2 else np.moveaxis(grey, 2, 0)
        images.append([np.asarray(Image.fromarray(one).resize((GRID, GRID), Image.Resampling.BOX)) for one in channels])
    return np.asarray(images, dtype=np.float64)


def difference(normal: Array, images: Array) -> Array:
    smooth = ndimage.gaussian_filter(images - normal.mean(axis=0), (0, 0, 2, 2))
    return np.abs(smooth).mean(axis=1)


def mahalanobis(normal: Array, images: Array) -> Array:
    def features(some: Array) -> Array:
        smooth = ndimage.gaussian_filter(some, (0, 0, 1.5, 1.5))
        slope = ndimage.gaussian_gradient_magnitude(some.mean(axis=1), (0, 1.5, 1.5))[:, None]
        return np.concatenate([smooth, slope], axis=1)

    known, seen = features(normal), features(images)
    centred = known - known.mean(axis=0)
    covariance = np.einsum("nchw,ndhw->hwcd", centred, centred) / len(known) + 1e-6 * np.eye(known.shape[1])
    away = seen - known.mean(axis=0)
    return np.sqrt(np.einsum("nchw,hwcd,ndhw->nhw", away, np.linalg.inv(covariance), away))


def patches(normal: Array, images: Array) -> Array:
    torch.manual_seed(0)
    channels = normal.shape[1]
    first, second = torch.randn(KEPT, channels, 5, 5), torch.randn(KEPT, KEPT, 3, 3)

    def features(some: Array) -> torch.Tensor:
        x = torch.from_numpy(some).float()
        x = F.relu(F.conv2d(x, first - first.mean(dim=(2, 3), keepdim=True), padding=2))
        y = F.relu(F.conv2d(F.avg_pool2d(x, 2), second, padding=1))
        both = torch.cat([F.avg_pool2d(x, 2), y / second[0].numel() ** 0.5], dim=1)
        return F.avg_pool2d(both, 3, 1, 1)

    known = features(normal).movedim(1, -1).flatten(0, 2)
    scale = known.std(dim=0).clip(min=1e-6)
    memory = known[torch.randperm(len(known))[:MEMORY]] / scale
    scores = []
    for one in images:
        found = features(one[None])[0].movedim(0, -1)
        near = torch.cdist((found / scale).flatten(0, 1), memory).min(dim=1).values.view(1, 1, *found.shape[:2])
        wide = F.interpolate(near, size=(GRID, GRID), mode="bilinear", align_corners=False)
        scores.append(ndimage.gaussian_filter(wide[0, 0].numpy(), 2))
    return np.asarray(scores)


def score(run: Path, split: Split = "test") -> None:
    predictor = SlicePredictor.load(run / "weights.safetensors")
    whole = read_table(run / "splits.csv")
    train, test = whole.split("train").labelled("normal"), whole.split(split)
    normal, images = read(train, predictor), read(test, predictor)
    truths = np.zeros((len(test), GRID, GRID), dtype=bool)
    for at, row in enumerate(test):
        if row.masks:
            shown = Image.fromarray(read_mask(row, "mask").astype(np.float32))
            truths[at] = np.asarray(shown.resize((GRID, GRID), Image.Resampling.BOX)) >= 0.5
    found = [
        np.asarray(Image.fromarray(one.score).resize((GRID, GRID), Image.Resampling.BOX))
        for one in predictor.predict_rows(test)
    ]
    labels = np.array([row.label == "lesion" for row in test])
    scores = {
        "lesionsplit": np.asarray(found),
        "difference": difference(normal, images),
        "mahalanobis": mahalanobis(normal, images),
        "patches": patches(normal, images),
    }
    counts = f"{labels.sum()} lesion and {(~labels).sum()} normal images of {split}"
    print(f"{run.name}: {counts}, {len(train)} normal ones of train")
    print(f"{'chance':12} pixel AP {truths[labels].mean():.3f}  image AUROC 0.500")
    region = np.ones((GRID, GRID), dtype=bool)
    for name, maps in scores.items():
        precision = average_precision_score(truths[labels].ravel(), maps[labels].ravel())
        auroc = roc_auc_score(labels, [slice_score(one.astype(np.float32), region) for one in maps])
        print(f"{name:12} pixel AP {precision:.3f}  image AUROC {auroc:.3f}")


if __name__ == "__main__":
    {"draw": draw, "score": score}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
