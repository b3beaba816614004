from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lesionsplit.data.cache import prepare
from lesionsplit.data.table import Table
from lesionsplit.images import as_float
from lesionsplit.tiles import GAP, HEADING
from lesionsplit.training.run import RunSettings
from lesionsplit.training.sample_tiles import EACH, write_samples


def test_an_untrained_network_shows_slices_as_healthy(tmp_path: Path, phantom: Table, tiny: RunSettings) -> None:
    slices = prepare(phantom.split("train"), tiny.placement, folder=tmp_path / "cache")
    path = tmp_path / "samples.png"
    write_samples(path, tiny.method, tiny.method.build_network(), slices, torch.device("cpu"))
    page = np.asarray(Image.open(path))
    rows, columns = tiny.placement.canvas
    assert page.shape[0] == HEADING + 2 * EACH * (rows + GAP) + GAP
    shown = page[HEADING : HEADING + rows, GAP : GAP + columns, 0]
    healthy = page[HEADING : HEADING + rows, 2 * GAP + columns : 2 * (GAP + columns), 0]
    lesion = slices.where(lesion=True)[0]
    top = slice(0, rows - 18)  # below is the name
    assert np.array_equal(shown[top], np.rint(as_float(slices.images[lesion]) * 255)[top])
    low, high = slices.normalisation.undo(np.array([-1.0, 1.0], dtype=np.float32))
    inside = (shown > low * 255 + 1) & (shown < high * 255 - 1)  # what normalising does not clip
    assert np.abs(healthy.astype(int) - shown)[top][inside[top]].max() <= 1
