"""Whether severe disease is found: `python experiments/severe.py DATA WEIGHTS ...`.

Into every 18th normal slice of val, of more than a thin crescent of lung, disease is put over 10 to 90 % of the lung,
at three opacities; printed is the mean score in it, and the share of what was put there that the healthy version takes
off. Then, on every third slice with lesion of val, average precision and best Dice (pooled, whole frame at 256)
against the first two annotators: the choice of the default, last rows of docs/archive/research-log.md. Last, of what
lesions that both outlined add to the median of the slice's other lung, the share that the healthy version takes off.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import Table, read_table
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.protocol import read_mask, to_grid
from lesionsplit.evaluation.score_histogram import ScoreHistogram, average_precision, best_dice
from lesionsplit.images import as_float
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.models.model import Model
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.synthesis.fields import blur, clouds, lung_field, lungs_of

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
OPACITIES = {"faint ground glass": 0.3, "ground glass": 0.45, "consolidation": 0.85}
CRESCENT, RESOLUTION = 1500, 256
"""Pixels of lung on the canvas below which a slice is left out; pixels on a frame's longer side."""


def replaced(normal: torch.Tensor, share: float, opacity: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal slices of whose lungs a share, from the back on with a ragged edge, is patchy lesion; and where."""
    torch.manual_seed(0)
    field = lung_field(normal)
    first = torch.where(field.lungs > 0, field.behind + 0.6 * clouds(normal, 20), -torch.inf)
    count = (share * field.lungs.sum(dim=(1, 2, 3))).long()
    last = torch.stack([one.flatten().sort(descending=True).values[k - 1] for one, k in zip(first, count, strict=True)])
    lesion = first >= last.view(-1, 1, 1, 1)
    patchy = (1 + 0.25 * clouds(normal, 8) + 0.15 * clouds(normal, 3)).clip(0.3, 1.7)
    dense = field.parenchyma + 0.9 * (field.dense - field.parenchyma)
    ill = normal + opacity * patchy * blur(lesion.float(), 0.7) * (dense - blur(normal, 1.0)).clip(min=0)
    return torch.where(field.lungs > 0, ill.clip(max=1), normal), lesion


def severe(model: Model, table: Table) -> None:
    rows = [read_slice(row) for row in table.labelled("normal").slices[::18]]
    placed = [model.card.placement.place(one.lungs).apply(as_float(one.grey)) for one in rows]
    normal = model.card.normalisation.apply(torch.from_numpy(np.stack(placed)).unsqueeze(1))
    normal = normal[lungs_of(normal).sum(dim=(1, 2, 3)) > CRESCENT]
    for name, opacity in OPACITIES.items():
        cells = []
        for share in SHARES:
            images, lesion = replaced(normal, share, opacity)
            with torch.inference_mode():
                reading = model.infer(images)
            taken = (images - reading.healthy)[lesion].mean() / (images - normal)[lesion].mean()
            cells.append(f"{share:.0%}: {reading.score[lesion].mean():.3f}, {taken:.0%} off")
        print(f"{name}: {'; '.join(cells)}")


def thirds(model: Model, table: Table) -> None:
    rows = table.labelled("lesion").slices[::3]
    counts = {annotator: ScoreHistogram() for annotator in table.annotators[:2]}
    added = taken = 0.0
    for row, found in zip(
        rows, SlicePredictor(TorchEngine(model, "cpu")).predict_stream(map(read_slice, rows)), strict=True
    ):
        score = to_grid(Scored(found.score, found.lungs), RESOLUTION).score
        outlined = {annotator: read_mask(row, annotator, RESOLUTION) for annotator in counts}
        for annotator, counted in counts.items():
            counted.add(row.series, score, outlined[annotator])
        grey, healthy = (
            to_grid(Scored(as_float(one), found.lungs), RESOLUTION) for one in (read_slice(row).grey, found.healthy)
        )
        lesion = np.logical_and(*outlined.values()) & grey.lungs
        spared = grey.lungs & ~np.logical_or(*outlined.values())
        if lesion.any() and spared.any():
            added += float((grey.score - np.median(grey.score[spared]))[lesion].sum())
            taken += float((grey.score - healthy.score)[lesion].sum())
    for annotator, counted in counts.items():
        total = counted.total
        print(f"every third lesion slice, {annotator}: {average_precision(total):.3f}, Dice {best_dice(total):.3f}")
    print(f"of what lesions that both outlined add to parenchyma, {taken / added:.0%} off")


def main(data: Path, weights: list[str]) -> None:
    torch.set_num_threads(1)
    table = read_table(data).split("val")
    for path in weights or ["default"]:
        model = Model.load(None if path == "default" else Path(path))
        print(path)
        severe(model, table)
        thirds(model, table)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
