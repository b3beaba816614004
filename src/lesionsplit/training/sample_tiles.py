"""Pictures of a few slices in the course of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lesionsplit.data.cache import PreparedSlices
from lesionsplit.domains.table import domain_of
from lesionsplit.images import Float, Mask, as_float, write_image
from lesionsplit.methods.base import MethodSettings
from lesionsplit.tiles import Tile, grey_tile, heat_tile, tile_grid

EACH = 3
"""Slices of each label on a picture; the same ones in all pictures of a run."""


@torch.no_grad()
def write_samples(
    path: Path, method: MethodSettings, network: nn.Module, slices: PreparedSlices, device: torch.device
) -> None:
    """Write a picture with a row for each slice: slice, healthy version, heat map on two scales."""
    chosen = [at for lesion in (True, False) for at in _spread(slices.where(lesion=lesion))]
    grey = as_float(slices.images[chosen])
    if slices.regions is None:
        lungs, canvas = grey > 0, slices.normalisation.apply(grey)
    else:
        lungs = slices.regions[chosen] > 127
        canvas = slices.kind.on_canvas(slices.normalisation.apply(grey), _each_channel(lungs, grey).astype(np.float32))
    images = torch.from_numpy(canvas).to(device)
    images = images.unsqueeze(1) if images.ndim == 3 else images
    network.eval()
    output = method.infer(network, images, domain_of(slices.kind))
    score, healthy = (part.float().squeeze(1).cpu().numpy() for part in output[:2])
    score, healthy = score * lungs, slices.normalisation.undo(healthy) * _each_channel(lungs, grey)
    rows = [
        [
            image_tile(grey[i]),
            image_tile(healthy[i]),
            heat_tile(score[i]),
            heat_tile(score[i], max(float(score[i].max()), 1e-6)),
        ]
        for i in range(len(chosen))
    ]
    names = ["lesion" if slices.labels[at] else "normal" for at in chosen]
    write_image(path, tile_grid(rows, ("slice", "healthy version", "heat map", "heat map, own scale"), names))


def image_tile(image: Float) -> Tile:
    """(H, W), or (3, H, W) in colour, as a tile."""
    return grey_tile(image if image.ndim == 2 else np.moveaxis(image, 0, -1))


def _each_channel(region: Mask, images: Float) -> Mask:
    """Regions, (N, H, W), of the shape of images, (N, H, W) or (N, 3, H, W), as far as broadcasting needs."""
    return region if images.ndim == 3 else region[:, None]


def _spread(positions: npt.NDArray[np.intp]) -> list[int]:
    """A few positions, evenly spaced."""
    chosen = np.linspace(0, len(positions) - 1, min(EACH, len(positions))).round().astype(int)
    return [int(at) for at in positions[chosen]]
