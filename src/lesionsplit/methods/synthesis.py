"""Our method: paired examples made from normal slices, then the network's own findings in the others.

No mask enters. In slices labelled normal, lesions are drawn (`synthesis`), so that both parts of the
slice are known exactly and G1 and G2 get a direct loss instead of a critic's opinion. After a while
the network also learns from slices labelled lesion, with what its own running average finds there as
the answer, left out where that is unsure.

To change a term of the loss, change `objective`; to change its weight, change `Objective`.
"""

from __future__ import annotations

import copy
from typing import Annotated, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.losses import Terms, overlap_loss, weighted_sum
from lesionsplit.methods.base import Reading, bare
from lesionsplit.methods.single import SingleNetworkMethod
from lesionsplit.networks.additive import Additive, AdditiveNet, AdditiveSettings
from lesionsplit.networks.unet import stride_of
from lesionsplit.settings import Settings
from lesionsplit.synthesis.fields import blur, lungs_of, over_the_edge, quantile, spared_grey, study
from lesionsplit.synthesis.lesions import Drawn, LesionSettings, draw_lesions
from lesionsplit.synthesis.scanner import ScannerSettings, rescan

SEEN = 1.5
"""Pixels, the standard deviation of the neighbourhood that a pixel is seen in."""

Weight = Annotated[float, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]
Chance = Annotated[float, Meta(ge=0, le=1)]


class Objective(Settings, frozen=True):
    """What the network is asked for; a weight of zero takes a term out."""

    extent: Weight = 1.0
    """Cross-entropy of the chance m with the extent that was drawn."""

    overlap: Weight = 1.0
    """One less the soft Dice of the two."""

    lesion: Weight = 0.2
    """Mean |G2 - what the drawn lesion adds| inside lesions: of G1 too, since x = G1 + G2."""

    elsewhere: Weight = 1.0
    """The same outside of them: the healthy version leaves alone what is healthy."""

    own: Weight = 1.0
    """Cross-entropy and Dice with its own findings in slices labelled lesion. Zero: those are not used."""


class SelfTraining(Settings, frozen=True):
    """When the network's own findings are taken for an answer."""

    after: Annotated[int, Meta(ge=0)] = 1200
    """Steps on drawn lesions alone; the term then grows over the next ``growing``."""

    growing: Annotated[int, Meta(ge=1)] = 100

    margin: Annotated[float, Meta(ge=0)] = 0.7
    """Logits on either side of `Calibration.fired` within which a pixel is left out."""

    teacher_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.99
    """Of the running average of the weights that does the finding."""


class Calibration(Settings, frozen=True):
    """From the network's chance, which is one among drawn lesions, to a score; no mask is needed."""

    fired: Annotated[float, Meta(gt=0, lt=1)] = 0.005
    """The score starts from the logit that this share of the lung of normal slices passes."""

    temperature: Rate = 2.0
    """Logits above it count for one over this."""

    every: Annotated[int, Meta(ge=1)] = 5
    """Steps between two looks at normal slices."""

    memory: Annotated[float, Meta(ge=0, lt=1)] = 0.95
    """Of the running mean over these looks."""

    faint: Annotated[float, Meta(gt=0)] = 0.1
    conspicuous: Annotated[float, Meta(gt=0)] = 0.6
    """A pixel's chance counts in full where its neighbourhood stands out from the parenchyma by this
    share of the way to dense vessels, and ``faint / (faint + conspicuous)`` of it where it does not at
    all: of two findings equally likely, readers outline the denser."""

    healthy: Annotated[float, Meta(ge=0)] = 3.0
    """Logits below the zero of the score from which a pixel counts as parenchyma, which the others are measured
    against. The whole lung would not do: where more than half of it is lesion, its median is lesion's."""

    rim: Chance = 0.15
    """Share of its neighbours' highest score that a pixel just outside the lungs gets. The lungs' edge
    is a line through pixels that are half lung, and who outlines a lesion at the pleura goes over it."""


class SynthesisSettings(Settings, frozen=True, tag_field="name", tag="synthesis"):
    """Everything about the method."""

    annotator: ClassVar[None] = None
    """Nobody's mask reaches it."""

    teaching: ClassVar[None] = None
    neighbours: ClassVar[float] = 0.0
    reach: ClassVar[int] = 1
    stream: ClassVar[tuple[int, ...]] = (1,)

    network: AdditiveSettings = AdditiveSettings()
    lesions: LesionSettings = LesionSettings()
    scanner: ScannerSettings = ScannerSettings()
    objective: Objective = Objective()
    self_training: SelfTraining = SelfTraining()
    calibration: Calibration = Calibration()
    learning_rate: Rate = 1e-3
    warm_up: Annotated[int, Meta(ge=1)] = 50
    """Steps over which the learning rate grows to its full height."""

    @property
    def stride(self) -> int:
        """Both sides of the canvas must be multiples of it."""
        return stride_of(self.network.channels)

    def build(self) -> SynthesisMethod:
        """The method, with fresh weights."""
        return SynthesisMethod(self)

    def build_network(self) -> AdditiveNet:
        """The network alone, with fresh weights."""
        return AdditiveNet(self.network)

    def read(self, network: nn.Module, images: Tensor) -> Reading:
        """Score and healthy version of slices (B, 1, H, W) in network grey."""
        net = cast(AdditiveNet, bare(network))
        parts = net.both_ways(images)
        return Reading(score(parts.logit - net.usual, images, self.calibration), images - parts.lesion)


def score(logit: Tensor, images: Tensor, settings: Calibration) -> Tensor:
    """The score of every pixel, 0 to 1, (B, 1, H, W); raw: one scale for all slices.

    Args:
        logit: (B, 1, H, W), above what is usual in normal lung.
        images: (B, 1, H, W), network grey.
        settings: how one becomes the other.
    """
    field = study(images)
    around = blur(field.lungs, SEEN).clip(min=0.05)
    parenchyma = spared_grey(images, field, logit < -settings.healthy)
    stands_out = blur(images * field.lungs, SEEN) / around - parenchyma
    stands_out = (stands_out / (field.dense - parenchyma).clip(min=1e-3)).clip(min=0)
    weight = ((settings.faint + stands_out) / (settings.faint + settings.conspicuous)).clip(max=1)
    inside = (logit / settings.temperature).sigmoid() * weight * field.lungs
    return over_the_edge(inside, field.lungs, settings.rim)


def objective(parts: Additive, drawn: Drawn) -> Terms:
    """What is asked for in slices with drawn lesions, term by term, not yet weighted; inside the lungs."""
    inside, outside = drawn.lungs * drawn.extent, drawn.lungs * (1 - drawn.extent)
    unlike = F.binary_cross_entropy_with_logits(parts.logit, drawn.extent, reduction="none")
    amiss = (parts.added - (drawn.images - drawn.healthy)).abs()
    return {
        "extent": mean_over(unlike, drawn.lungs),
        "overlap": overlap_loss(parts.chance * drawn.lungs, drawn.extent),
        "lesion": mean_over(amiss, inside),
        "elsewhere": mean_over(amiss, outside),
    }


def mean_over(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of (B, 1, H, W) over a batch; one pixel more, worth nothing, where there are none."""
    return (values * weights).sum() / (weights.sum() + 1)


def own_findings(parts: Additive, found: Tensor, lungs: Tensor, margin: float) -> Tensor:
    """How far the network is from what its average found; a scalar.

    Args:
        parts: what the network says of slices with lesion.
        found: the logit (B, 1, H, W) that its average gave their pixels, above what is usual in normal lung.
        lungs: (B, 1, H, W), 1 inside.
        margin: how far from 0 a finding must be to be taken for an answer.
    """
    answer = (found > 0).to(found.dtype)
    counts = lungs * (found.abs() >= margin)
    unlike = F.binary_cross_entropy_with_logits(parts.logit, answer, reduction="none")
    return mean_over(unlike, counts) + overlap_loss(parts.chance * counts, answer * counts)


class SynthesisMethod(SingleNetworkMethod):
    """Trains the network on drawn lesions and, later, on its own findings."""

    def __init__(self, settings: SynthesisSettings) -> None:
        self.settings = settings
        super().__init__(settings.build_network(), settings)
        self.teacher: nn.Module = copy.deepcopy(self.network).requires_grad_(False).eval()

    def setup(self, fabric: Fabric) -> None:
        """Hand modules and optimiser to Fabric, once, before the first step."""
        super().setup(fabric)
        self.teacher.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def state(self) -> dict[str, Any]:
        """Network, its average and the optimiser."""
        return {**super().state(), "teacher": self.teacher}

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch: lesions drawn into its normal slices and, in time, its slices with lesion."""
        settings = self.settings
        self._look_at_normals(batch.normal, number)
        own = settings.objective.own * self._trust(number)
        drawn = draw_lesions(batch.normal, settings.lesions)
        shown = rescan(drawn.images, drawn.lungs, settings.scanner)
        if own:
            lungs = lungs_of(batch.lesion)
            shown = torch.cat([shown, rescan(batch.lesion, lungs, settings.scanner)])
        parts: Additive = self.network(shown.contiguous(memory_format=torch.channels_last))
        paired = Additive._make(part[: len(batch.normal)] for part in parts)
        terms = objective(paired, drawn)
        weights = {name: getattr(settings.objective, name) for name in terms}
        if own:
            terms["own"] = own_findings(
                Additive._make(part[len(batch.normal) :] for part in parts),
                self._find(batch.lesion),
                lungs,
                settings.self_training.margin,
            )
            weights["own"] = own
        self.descend(weighted_sum(terms, weights), number)
        self._teach()
        return {name: term.detach() for name, term in terms.items()}

    def _trust(self, number: int) -> float:
        """How much its own findings count at a step, 0 to 1."""
        schedule = self.settings.self_training
        return min(1.0, max(0.0, (number + 1 - schedule.after) / schedule.growing))

    @torch.no_grad()
    def _find(self, images: Tensor) -> Tensor:
        """What the average finds in slices, (B, 1, H, W): logits above what is usual in normal lung."""
        teacher = cast(AdditiveNet, self.teacher)
        found: Tensor = teacher.both_ways(images).logit - teacher.usual
        return found

    @torch.no_grad()
    def _look_at_normals(self, normal: Tensor, number: int) -> None:
        """Keep a running mean of the logit that is seldom passed in normal lung."""
        settings = self.settings.calibration
        if number % settings.every:
            return
        logits = self.teacher(normal).logit[lungs_of(normal) > 0]
        if not logits.numel():  # slices so small that nothing is left of their lungs
            return
        seldom = quantile(logits.float(), 1 - settings.fired)
        looks = number // settings.every
        usual = cast(AdditiveNet, bare(self.network)).usual
        usual.lerp_(seldom, max(1 - settings.memory, 1 / (looks + 1)))

    @torch.no_grad()
    def _teach(self) -> None:
        """Move the average towards the network."""
        decay = self.settings.self_training.teacher_decay
        for average, weight in zip(self.teacher.parameters(), self.network.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)
        for kept, value in zip(self.teacher.buffers(), self.network.buffers(), strict=True):
            kept.copy_(value)
