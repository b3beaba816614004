"""Our method: one network that learns what diffusion models find, and is told what drawn lesions are.

Its teachers (`Teaching`) are trained first, on image labels alone, and read the slices of train that are labelled
lesion (`training.teaching`). What they are sure of together is the answer there, in their shades of certainty (Hinton
et al. 2015), so that the student ranks pixels as they do. In slices labelled normal the answer is that there is
nothing, whatever the teachers say: the labels know better. Into half of those lesions are drawn, severer than the
slices of train show; what they are is known.

The network is the denoiser of `diffusion` with another last layer, and begins with the first teacher's weights. What
takes a teacher twenty-four passes, the slice's mirror image included, the student says in two.

To change a term of the loss, change `objective`; how teachers are brought together, `training.teaching.believed`.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.normalise import SPREAD
from lesionsplit.data.sampling import Batch
from lesionsplit.errors import DataError
from lesionsplit.losses import Terms, weighted_sum
from lesionsplit.methods.base import Reading, Teaching
from lesionsplit.methods.single import SingleNetworkMethod
from lesionsplit.networks.additive import AT_FIRST, Additive
from lesionsplit.networks.denoiser import Denoiser, DenoiserSettings, seen_clean
from lesionsplit.settings import Settings
from lesionsplit.synthesis.fields import blur, lungs_of, over_the_edge, spared_grey, study
from lesionsplit.synthesis.lesions import Drawn, LesionSettings, Share, draw_lesions
from lesionsplit.synthesis.scanner import ScannerSettings, rescan

Weight = Annotated[float, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]


AROUND = 1.5
"""Standard deviation, in pixels of the canvas, of the neighbourhood that stands out."""

DOUBTFUL, SURE = 0.1, 0.5
"""Below the one what teachers believe is parenchyma, from the other on it is lesion, when it is measured what stands
out."""


class Objective(Settings, frozen=True):
    """What the network is asked for; a weight of zero takes a term out."""

    chance: Weight = 1.0
    """Cross-entropy of the chance m with what the teachers believe, or of drawn lesions with what was drawn."""

    lesion: Weight = 5.0
    """Mean |G2 - what the teachers take off or `stands_out`, or what was drawn|."""


class Drawing(Settings, frozen=True):
    """Lesions drawn into normal slices, where both parts are known; severer than any slice of train."""

    lesions: LesionSettings = LesionSettings(share=0.5, radius=16.0)

    half: Rate = 0.1
    """A drawn lesion is believed by half where it adds this share of the way from parenchyma to dense vessels."""


class DistilledSettings(Settings, frozen=True, tag_field="name", tag="distilled"):
    """Everything about the method."""

    annotator: ClassVar[None] = None
    """Nobody's mask reaches it."""

    reach: ClassVar[int] = 1
    stream: ClassVar[tuple[int, ...]] = (1,)

    teaching: Teaching = Teaching(teachers=("diffusion",))
    network: DenoiserSettings = DenoiserSettings()
    drawing: Drawing = Drawing()
    scanner: ScannerSettings = ScannerSettings()
    objective: Objective = Objective()
    odds: Rate = 2.0
    steepness: Rate = 1.0
    """The score's odds are ``odds`` times those of m to the power of ``steepness``, everywhere alike: the pixels of a
    slice's lungs are ranked as by m, before `rim` and `neighbours`. What m means hangs on what teachers believe; how
    `distilled.toml`'s were set on val of covid-cell is in `benchmarks/chances.py`."""

    thorough: bool = False
    """What G2 is asked for in slices with lesion: what the teachers take off, or `stands_out`, by which healthy
    versions keep a quarter of a lesion instead of more than half."""

    rim: Share = 0.5
    """Share of its neighbours' highest score that a pixel just outside the lungs gets at least. The lungs' edge is a
    line through pixels that are half lung, and who outlines a lesion at the pleura goes over it."""

    neighbours: Share = 0.0
    """How much the score of a neighbouring slice of the same series counts, the slice's own being 1; slices that come
    alone are read alone."""

    learning_rate: Rate = 1e-3
    warm_up: Annotated[int, Meta(ge=1)] = 50
    """Steps over which the learning rate grows to its full height."""

    @property
    def stride(self) -> int:
        """Both sides of the canvas must be multiples of it."""
        return self.network.stride

    def build(self) -> DistilledMethod:
        """The method, with fresh weights."""
        return DistilledMethod(self)

    def build_network(self) -> Denoiser:
        """The network alone, with fresh weights."""
        network = Denoiser(self.network, outputs=2)
        network.expect(AT_FIRST)
        return network

    def read(self, network: nn.Module, images: Tensor) -> Reading:
        """Score and healthy version of slices (B, 1, H, W) in network grey: the mean with their mirror images'."""
        here, there = taken_apart(network, images), taken_apart(network, images.flip(3))
        parts = Additive(*((one + other.flip(3)) / 2 for one, other in zip(here, there, strict=True)))
        lungs = lungs_of(images)
        score = (self.steepness * parts.logit + math.log(self.odds)).sigmoid() * reached(lungs)
        return Reading(over_the_edge(score, lungs, self.rim), images - parts.lesion)


def taken_apart(network: nn.Module, images: Tensor) -> Additive:
    """What the network says of slices, (B, 1, H, W) in network grey: a denoiser that is told there is no noise."""
    logit, added = seen_clean(network, images * SPREAD, lungs_of(images)).chunk(2, dim=1)
    return Additive(logit, added)


def reached(lungs: Tensor) -> Tensor:
    """The lungs, (B, 1, H, W), and one pixel around them: heat maps brought to another grid go over the edge."""
    return F.max_pool2d(lungs, 3, 1, 1)


def believed(drawn: Drawn, half: float) -> Tensor:
    """How sure the network is to be of drawn lesions, (B, 1, H, W), 0 to 1: a / (a + half) within their extent.

    Args:
        drawn: slices with them.
        half: see `Drawing.half`; a, what is added, is measured as that is.
    """
    field = study(drawn.healthy)
    added = blur(drawn.images - drawn.healthy, 1.0).clip(min=0) / (field.dense - field.parenchyma).clip(min=1e-3)
    return drawn.extent * added / (added + half)


def stands_out(images: Tensor, chance: Tensor, healthy: Tensor) -> Tensor:
    """What the lesions of slices add, in network grey, (B, 1, H, W): what teachers take off, or more.

    Teachers draw a slice anew from noise that a large lesion shows through, and take off less than half of it. Where
    they are sure it is no less than what the neighbourhood stands out of parenchyma by; vessels and noise stay.

    Args:
        images: slices, black outside the lungs.
        chance: what the teachers believe, 0 to 1.
        healthy: the slices as the teachers' healthy versions have them.
    """
    field = study(images)
    around = blur(images * field.lungs, AROUND) / blur(field.lungs, AROUND).clip(min=1e-3)
    out = (around - spared_grey(images, field, chance < DOUBTFUL)) * field.lungs
    taken = images - healthy
    return taken + (chance / SURE).clip(max=1) * (out - taken).clip(min=0)


def objective(parts: Additive, chance: Tensor, added: Tensor, lungs: Tensor) -> Terms:
    """What is asked for, term by term, not yet weighted.

    Args:
        parts: what the network says of slices.
        chance: (B, 1, H, W), what the teachers believe, or what was drawn, 0 to 1.
        added: (B, 1, H, W), what lesions add, see `stands_out`, or what was drawn, in network grey.
        lungs: (B, 1, H, W), 1 inside.
    """
    unlike = F.binary_cross_entropy_with_logits(parts.logit, chance, reduction="none")
    counts = reached(lungs)
    return {
        "chance": (unlike * counts).sum() / counts.sum().clip(min=1),
        "lesion": ((parts.added - added).abs() * lungs).sum() / lungs.sum().clip(min=1),
    }


class DistilledMethod(SingleNetworkMethod):
    """Trains the network on what its teachers find, and on normal slices, in which is nothing but what is drawn."""

    def __init__(self, settings: DistilledSettings) -> None:
        self.settings = settings
        super().__init__(settings.build_network(), settings)

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch.

        Raises:
            DataError: no teacher has read its slices.
        """
        if batch.taught is None:
            raise DataError("no teacher has read the slices; give `fit` those of `training.teaching.taught`")
        settings = self.settings
        drawn = draw_lesions(batch.normal, settings.drawing.lesions)
        images = torch.cat([drawn.images, batch.lesion])
        chance, healthy = batch.taught.chance, batch.taught.healthy
        found = stands_out(batch.lesion, chance, healthy) if settings.thorough else batch.lesion - healthy
        lungs = lungs_of(images)
        terms = objective(
            taken_apart(self.network, rescan(images, lungs, settings.scanner)),
            torch.cat([believed(drawn, settings.drawing.half), chance]),
            torch.cat([drawn.images - drawn.healthy, found]),
            lungs,
        )
        self.descend(weighted_sum(terms, {name: getattr(settings.objective, name) for name in terms}), number)
        return {name: term.detach() for name, term in terms.items()}
