"""A supervised upper bound: the network of `distilled`, trained on the masks of one annotator.

It measures what the same network reaches with masks. It is not weakly supervised, and the only method that is
trained on masks: those of one annotator, of the train split.

To change a term of the loss, change `objective`.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.normalise import SPREAD
from lesionsplit.data.sampling import Batch
from lesionsplit.domains.base import Domain
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.errors import DataError
from lesionsplit.losses import Terms, masked_mean, overlap_loss
from lesionsplit.methods.base import MethodOutput, MethodSettings, mirror_mean
from lesionsplit.methods.optimisation import SingleNetworkMethod
from lesionsplit.networks.denoiser import Denoiser, DenoiserSettings, apply_without_noise
from lesionsplit.networks.lesion_unet import INITIAL_LOGIT
from lesionsplit.settings import Count, Fraction, Positive
from lesionsplit.synthesis.scanner import ScannerSettings


class SupervisedSettings(MethodSettings, frozen=True, tag_field="name", tag="supervised"):
    """All settings of the upper bound."""

    annotator: Annotated[str, Meta(min_length=1)]
    """The annotator whose masks it is trained on: `a` for the column `mask_a` of the data set's table."""

    network: DenoiserSettings = DenoiserSettings()
    scanner: ScannerSettings = ScannerSettings()
    pleural_margin: Fraction = 0.0
    """Fraction of its neighbours' highest score that a pixel just outside the lungs gets at least, as in `distilled`;
    with 0, pixels outside the lungs are not scored: training does not cover them."""

    mirror_average: bool = True
    """Whether the outputs for a slice and for its mirror image are averaged, which takes twice as long; see
    `lesionsplit export --no-mirror`."""

    neighbour_weight: Fraction = 0.0
    """Weight of the score of a neighbouring slice of the same series, relative to the slice's own; a single slice has
    no neighbours."""

    learning_rate: Positive = 1e-3
    warmup_steps: Count = 50
    """Steps over which the learning rate rises to `learning_rate`."""

    @property
    def margin_pixels(self) -> int:
        """1 if pixels just outside the lungs are scored."""
        return 1 if self.pleural_margin else 0

    def build(self, domain: Domain = LUNGS) -> SupervisedMethod:
        """The method, with fresh weights."""
        return SupervisedMethod(self, domain)

    def build_network(self, domain: Domain = LUNGS) -> Denoiser:
        """The network alone, with fresh weights."""
        network = Denoiser(self.network, channels=domain.channels)
        network.start_from(INITIAL_LOGIT)
        return network

    def infer(self, network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> MethodOutput:
        """Score of slices (B, C, H, W) in network grey.

        The healthy version is the slice itself: masks do not show what lies under a lesion.
        """
        (logit,) = mirror_mean(lambda one: [mask_logit(network, one, domain)], [images], self.mirror_average)
        score, lungs = logit.sigmoid(), domain.region(images)
        if self.pleural_margin:
            score = domain.score_rim(score * lungs, lungs, self.pleural_margin)
        return MethodOutput(score, images)


def mask_logit(network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> Tensor:
    """The logit of the probability that the annotator outlines a pixel of slices (B, 1, H, W) in network grey."""
    return apply_without_noise(network, images * SPREAD, domain.region(images))


def objective(logit: Tensor, outlined: Tensor, lungs: Tensor) -> Terms:
    """The terms of the loss, inside the lungs; each has weight one.

    Args:
        logit: (B, 1, H, W), the network's output.
        outlined: (B, 1, H, W), 1 where the annotator outlined them, else 0.
        lungs: (B, 1, H, W), 1 inside.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logit, outlined, reduction="none")
    return {
        "extent": masked_mean(cross_entropy, lungs),
        "overlap": overlap_loss(logit.sigmoid() * lungs, outlined * lungs),
    }


class SupervisedMethod(SingleNetworkMethod):
    """Trains the network on an annotator's masks, and on empty masks of normal slices."""

    def __init__(self, settings: SupervisedSettings, domain: Domain = LUNGS) -> None:
        self.settings, self.domain = settings, domain
        super().__init__(settings.build_network(domain), settings)

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch.

        Raises:
            DataError: it has no masks.
        """
        if batch.outlined is None:
            raise DataError("the slices have no masks; call `prepare` with the annotator whose masks to train on")
        settings = self.settings
        lungs = self.domain.region(batch.images)
        logit = mask_logit(self.network, self.domain.vary(batch.images, lungs, settings.scanner), self.domain)
        terms = objective(logit, torch.cat([torch.zeros_like(batch.outlined), batch.outlined]), lungs)
        return self.learn(terms, dict.fromkeys(terms, 1.0), number)
