"""Train the lung network, in minutes on one core, without lesion masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lesionsplit.data.lung_slice import LungSlice
from lesionsplit.errors import DivergedError
from lesionsplit.progress import Progress, silent
from lesionsplit.training.lungs.network import LungCard, LungModel, LungNet
from lesionsplit.training.lungs.samples import Sample, draw_batch, vary


@dataclass(frozen=True, slots=True, kw_only=True)
class LungTraining:
    """Settings of the training."""

    steps: int = 1600
    batch_size: int = 12
    learning_rate: float = 3e-3
    """The maximum; the rate rises for 5 % of the steps, then falls to 0 along a cosine."""

    seed: int = 0


def train_lungs(
    hosts: Sequence[Sample],
    slices: Sequence[LungSlice],
    training: LungTraining,
    *,
    data: str,
    start: LungModel | None = None,
    progress: Progress = silent,
) -> LungModel:
    """Train on slices of healthy chests with synthetic disease, and on real lungs put into their bodies.

    The same seed, data and number of threads give the same weights.

    Args:
        hosts: slices of CT in HU with their lungs, see `samples.samples_of`.
        slices: lung-masked slices of real lungs, with disease if possible; may be empty.
        training: settings.
        data: description of the data for the card.
        start: a network to continue from; the result is the mean of its weights and the trained ones.
        progress: receives the steps.

    Raises:
        DivergedError: the loss is not finite.
    """
    torch.manual_seed(training.seed)
    rng = np.random.default_rng(training.seed)
    before = {}
    if start is not None:
        before["before"] = "; ".join(f"{key} {value}" for key, value in start.card.trained.items())
        before["after"] = "mean with the weights that it went on from"
    card = LungCard(
        channels=LungCard().channels if start is None else start.card.channels,
        trained={
            **before,
            "version": version("lesionsplit"),
            "data": data,
            "seed": str(training.seed),
            "steps": str(training.steps),
            "batch size": str(training.batch_size),
        },
    )
    network = LungNet(card.channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is not None:
        network.load_state_dict(start.network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=training.learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step / training.steps))
    network.train()
    for step in progress(range(training.steps), training.steps, "training"):
        images, lungs = vary(rng, draw_batch(rng, hosts, slices, training.batch_size))
        loss = objective(network(images), lungs)
        if not torch.isfinite(loss):
            raise DivergedError(f"step {step}: the loss is {loss.item()}; train again with another --seed")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    if start is not None:
        network.load_state_dict(_mean(start.network.state_dict(), network.state_dict()))
    return LungModel(card, network)


def _mean(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of the weights before and after training, which limits forgetting."""
    return {
        name: (before[name] + tensor) / 2 if tensor.is_floating_point() else tensor for name, tensor in after.items()
    }


def objective(logits: Tensor, lungs: Tensor) -> Tensor:
    """Cross entropy plus half of 1 - soft Dice of the batch; (B, 1, H, W) to ()."""
    found = logits.sigmoid()
    dice = (2 * (found * lungs).sum() + 1) / (found.sum() + lungs.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, lungs) + 0.5 * (1 - dice)


def _rate(done: float) -> float:
    """Fraction of the maximum learning rate, after a fraction of the steps."""
    return min(done / 0.05 + 0.01, 1.0) * (0.5 + 0.5 * math.cos(math.pi * done))
