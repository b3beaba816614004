"""The yardstick: the network of `distilled` trained on one annotator's masks. A supervised upper bound.

It says how far the same network gets when it is shown the outlines; it is no weakly supervised method,
and the only one that any mask reaches: those of one annotator, of the train split.

To change a term of the loss, change `objective`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.normalise import SPREAD
from lesionsplit.data.sampling import Batch
from lesionsplit.errors import DataError
from lesionsplit.losses import Terms, overlap_loss, weighted_sum
from lesionsplit.methods.base import Reading
from lesionsplit.methods.single import SingleNetworkMethod
from lesionsplit.networks.additive import AT_FIRST
from lesionsplit.networks.denoiser import Denoiser, DenoiserSettings, seen_clean
from lesionsplit.settings import Settings
from lesionsplit.synthesis.fields import lungs_of, over_the_edge
from lesionsplit.synthesis.lesions import Share
from lesionsplit.synthesis.scanner import ScannerSettings, rescan

Rate = Annotated[float, Meta(gt=0)]


class SupervisedSettings(Settings, frozen=True, tag_field="name", tag="supervised"):
    """Everything about the upper bound."""

    teaching: ClassVar[None] = None
    stream: ClassVar[tuple[int, ...]] = (1,)
    annotator: Annotated[str, Meta(min_length=1)]
    """Whose masks it is trained on: `a` for the column `mask_a` of the data set's table."""

    network: DenoiserSettings = DenoiserSettings()
    scanner: ScannerSettings = ScannerSettings()
    rim: Share = 0.0
    """Share of its neighbours' highest score that a pixel just outside the lungs gets, as `distilled` has it; 0 leaves
    out what lies there, where no outline taught it."""

    neighbours: Share = 0.0
    """How much the score of a neighbouring slice of the same series counts, the slice's own being 1; slices that come
    alone are read alone."""

    learning_rate: Rate = 1e-3
    warm_up: Annotated[int, Meta(ge=1)] = 50
    """Steps over which the learning rate grows to its full height."""

    @property
    def reach(self) -> int:
        """Pixels beyond the lungs that its score means something for."""
        return 1 if self.rim else 0

    @property
    def stride(self) -> int:
        """Both sides of the canvas must be multiples of it."""
        return self.network.stride

    def build(self) -> SupervisedMethod:
        """The method, with fresh weights."""
        return SupervisedMethod(self)

    def build_network(self) -> Denoiser:
        """The network alone, with fresh weights."""
        network = Denoiser(self.network)
        network.expect(AT_FIRST)
        return network

    def read(self, network: nn.Module, images: Tensor) -> Reading:
        """Score of slices (B, 1, H, W) in network grey, the mean with their mirror images'.

        Each is given back as its own healthy version: outlines say where a lesion is and not what lies under it.
        """
        logit = (outlined_at(network, images) + outlined_at(network, images.flip(3)).flip(3)) / 2
        score, lungs = logit.sigmoid(), lungs_of(images)
        if self.rim:
            score = over_the_edge(score * lungs, lungs, self.rim)
        return Reading(score, images)


def outlined_at(network: nn.Module, images: Tensor) -> Tensor:
    """The logit of the chance that pixels of slices, (B, 1, H, W) in network grey, would be outlined."""
    return seen_clean(network, images * SPREAD, lungs_of(images))


def objective(logit: Tensor, outlined: Tensor, lungs: Tensor) -> Terms:
    """What is asked for, term by term, each weighing one; inside the lungs.

    Args:
        logit: (B, 1, H, W), what the network says of normal slices and slices with lesion.
        outlined: (B, 1, H, W), 1 where the annotator outlined them, else 0.
        lungs: (B, 1, H, W), 1 inside.
    """
    unlike = F.binary_cross_entropy_with_logits(logit, outlined, reduction="none")
    return {
        "extent": (unlike * lungs).sum() / lungs.sum().clip(min=1),
        "overlap": overlap_loss(logit.sigmoid() * lungs, outlined * lungs),
    }


class SupervisedMethod(SingleNetworkMethod):
    """Trains the network on an annotator's outlines, and on the empty ones of normal slices."""

    def __init__(self, settings: SupervisedSettings) -> None:
        self.settings = settings
        super().__init__(settings.build_network(), settings)

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch.

        Raises:
            DataError: it has no outlines.
        """
        if batch.outlined is None:
            raise DataError("the slices have no outlines; give `prepare` the annotator whose masks to train on")
        settings = self.settings
        lungs = lungs_of(batch.images)
        logit = outlined_at(self.network, rescan(batch.images, lungs, settings.scanner))
        terms = objective(logit, torch.cat([torch.zeros_like(batch.outlined), batch.outlined]), lungs)
        self.descend(weighted_sum(terms, dict.fromkeys(terms, 1.0)), number)
        return {name: term.detach() for name, term in terms.items()}
