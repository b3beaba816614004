"""Pictures of a few slices in the course of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lesionsplit.data.cache import PreparedSlices
from lesionsplit.images import as_float, write_image
from lesionsplit.methods.base import MethodSettings
from lesionsplit.tiles import grey_tile, heat_tile, tile_grid

EACH = 3
"""Slices of each label on a picture; the same ones in all pictures of a run."""


@torch.no_grad()
def write_samples(
    path: Path, method: MethodSettings, network: nn.Module, slices: PreparedSlices, device: torch.device
) -> None:
    """Write a picture with a row for each slice: slice, healthy version, heat map on two scales."""
    chosen = [at for lesion in (True, False) for at in _spread(slices.where(lesion=lesion))]
    grey = as_float(slices.images[chosen])
    images = torch.from_numpy(slices.normalisation.apply(grey)).unsqueeze(1).to(device)
    network.eval()
    lungs = grey > 0
    score, healthy = (part.float().squeeze(1).cpu().numpy() for part in method.infer(network, images)[:2])
    score, healthy = score * lungs, slices.normalisation.undo(healthy) * lungs
    rows = [
        [
            grey_tile(grey[i]),
            grey_tile(healthy[i]),
            heat_tile(score[i]),
            heat_tile(score[i], max(float(score[i].max()), 1e-6)),
        ]
        for i in range(len(chosen))
    ]
    names = ["lesion" if slices.labels[at] else "normal" for at in chosen]
    write_image(path, tile_grid(rows, ("slice", "healthy version", "heat map", "heat map, own scale"), names))


def _spread(positions: npt.NDArray[np.intp]) -> list[int]:
    """A few positions, evenly spaced."""
    chosen = np.linspace(0, len(positions) - 1, min(EACH, len(positions))).round().astype(int)
    return [int(at) for at in positions[chosen]]
