"""The yardstick: the network of `synthesis` trained on one annotator's masks. A supervised upper bound.

It says how far the same network gets when it is shown the outlines; it is no weakly supervised method,
and the only one that any mask reaches: those of one annotator, of the train split.

To change a term of the loss, change `objective`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from msgspec import Meta
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from lesionsplit.data.sampling import Batch
from lesionsplit.errors import DataError
from lesionsplit.losses import Terms, overlap_loss, weighted_sum
from lesionsplit.methods.base import Reading, bare
from lesionsplit.networks.additive import Additive, AdditiveNet, AdditiveSettings
from lesionsplit.networks.unet import stride_of
from lesionsplit.settings import Settings
from lesionsplit.synthesis.fields import lungs_of
from lesionsplit.synthesis.scanner import ScannerSettings, rescan

Rate = Annotated[float, Meta(gt=0)]


class SupervisedSettings(Settings, frozen=True, tag_field="name", tag="supervised"):
    """Everything about the upper bound."""

    teaching: ClassVar[None] = None
    reach: ClassVar[int] = 0
    stream: ClassVar[tuple[int, ...]] = (1,)
    annotator: Annotated[str, Meta(min_length=1)]
    """Whose masks it is trained on: `a` for the column `mask_a` of the data set's table."""

    network: AdditiveSettings = AdditiveSettings()
    scanner: ScannerSettings = ScannerSettings()
    learning_rate: Rate = 1e-3
    warm_up: Annotated[int, Meta(ge=1)] = 50
    """Steps over which the learning rate grows to its full height."""

    @property
    def stride(self) -> int:
        """Both sides of the canvas must be multiples of it."""
        return stride_of(self.network.channels)

    def build(self) -> SupervisedMethod:
        """The method, with fresh weights."""
        return SupervisedMethod(self)

    def build_network(self) -> AdditiveNet:
        """The network alone, with fresh weights."""
        return AdditiveNet(self.network)

    def read(self, network: nn.Module, images: Tensor) -> Reading:
        """Score of slices (B, 1, H, W) in network grey; each is given back as its own healthy version.

        Outlines say where a lesion is and not what lies under it, so G2 is not trained and not read.
        """
        net = cast(AdditiveNet, bare(network))
        return Reading(net.both_ways(images).chance, images)


def objective(parts: Additive, outlined: Tensor, lungs: Tensor) -> Terms:
    """What is asked for, term by term, each weighing one; inside the lungs.

    Args:
        parts: what the network says of normal slices and slices with lesion.
        outlined: (B, 1, H, W), 1 where the annotator outlined them, else 0.
        lungs: (B, 1, H, W), 1 inside.
    """
    unlike = F.binary_cross_entropy_with_logits(parts.logit, outlined, reduction="none")
    return {
        "extent": (unlike * lungs).sum() / lungs.sum().clip(min=1),
        "overlap": overlap_loss(parts.chance * lungs, outlined * lungs),
    }


class SupervisedMethod:
    """Trains the network on an annotator's outlines, and on the empty ones of normal slices."""

    def __init__(self, settings: SupervisedSettings) -> None:
        self.settings = settings
        self.network: nn.Module = settings.build_network()
        self.optimizer: Optimizer = AdamW(self.network.parameters(), settings.learning_rate, weight_decay=1e-4)

    def setup(self, fabric: Fabric) -> None:
        """Hand module and optimiser to Fabric, once, before the first step."""
        self.fabric = fabric
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.optimizer = fabric.setup(self.network, self.optimizer)

    def state(self) -> dict[str, Any]:
        """Network and optimiser."""
        return {"network": self.network, "optimizer": self.optimizer}

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch.

        Raises:
            DataError: it has no outlines.
        """
        if batch.outlined is None:
            raise DataError("the slices have no outlines; give `prepare` the annotator whose masks to train on")
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (number + 1) / settings.warm_up)
        lungs = lungs_of(batch.images)
        shown = rescan(batch.images, lungs, settings.scanner)
        parts: Additive = self.network(shown.contiguous(memory_format=torch.channels_last))
        terms = objective(parts, torch.cat([torch.zeros_like(batch.outlined), batch.outlined]), lungs)
        self.optimizer.zero_grad()
        self.fabric.backward(weighted_sum(terms, dict.fromkeys(terms, 1.0)))
        self.fabric.clip_gradients(self.network, self.optimizer, max_norm=5.0, error_if_nonfinite=False)
        self.optimizer.step()
        return {name: term.detach() for name, term in terms.items()}
