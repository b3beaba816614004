"""Healthy versions from a small diffusion model that is told the image label.

A denoiser learns slices of both labels (Ho et al. 2020), with the label left out now and then (Ho and Salimans
2022). A slice is noised until its lesions drown, and what the noise hid is drawn anew as of a normal slice.
Either in one step, the estimate that the denoiser makes of the slice (as pDDPM, Behrendt et al. 2023), or along
the deterministic way there and back (Sanchez et al. 2022), which is DDIM's (Song et al. 2020, eq. 12).

Departures, most for the budget of two CPU cores: levels are continuous, the network predicts v and not the noise
(Salimans and Ho 2022), it sees lung pixels only and is told where they are, and the noise is coloured
(`coloured`), for which AnoDDPM (Wyatt et al. 2022) has simplex noise. The score is not the slice less its healthy
version, but what is drawn as of a slice with lesion less what is drawn as of a normal one (`heat_map`).

To change the loss, change `DiffusionMethod.step`; to change what is drawn, `one_step` or `counterfactual`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, TypeAlias

import torch
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.normalise import SPREAD
from lesionsplit.data.sampling import Batch
from lesionsplit.losses import Terms
from lesionsplit.methods.base import Reading
from lesionsplit.methods.single import SingleNetworkMethod
from lesionsplit.networks.denoiser import (
    Condition,
    Denoiser,
    DenoiserSettings,
    coloured,
    noised,
    strengths,
    taken_apart,
)
from lesionsplit.settings import Settings
from lesionsplit.synthesis.fields import lungs_of

Rate = Annotated[float, Meta(gt=0)]
Level = Annotated[float, Meta(gt=0, lt=1)]
Count = Annotated[int, Meta(ge=1)]
HeatMap = Literal["residual", "residual-positive", "contrast"]

Denoise: TypeAlias = Callable[[Tensor, float, Condition], Tensor]
"""v, (B, 1, H, W), of noisy slices, (B, 1, H, W), at a level, under a condition."""


class DiffusionSettings(Settings, frozen=True, tag_field="name", tag="diffusion"):
    """Everything about the method."""

    annotator: ClassVar[None] = None
    """Nobody's mask reaches it."""

    teaching: ClassVar[None] = None
    reach: ClassVar[int] = 0
    stream: ClassVar[tuple[int, ...]] = (1,)

    network: DenoiserSettings = DenoiserSettings()
    colour: Annotated[float, Meta(ge=0, le=2)] = 1.0
    """How much more there is of coarse noise than of fine; see `coloured`. 0 is the usual white noise, which leaves
    alone whatever is larger than a few pixels."""

    label_dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    """Share of the slices whose label training leaves out."""

    learning_rate: Rate = 1e-3
    warm_up: Count = 50
    """Steps over which the learning rate grows to its full height."""

    reading: Literal["one-step", "counterfactual"] = "counterfactual"
    """How the healthy version is drawn. ``one-step``: estimated from the noised slice at once, the mean over a few
    draws of noise. ``counterfactual``: along DDIM's way to the level and back; sharper, and draws no noise."""

    heat_map: HeatMap = "contrast"
    """What is read as the score; see `heat_map`."""

    level: Level = 0.7
    """How far a slice is noised, 0 not at all, 1 to noise alone; at 0.5 there is as much of one as of the other.
    ``one-step`` wants less, about 0.4."""

    guidance: Annotated[float, Meta(ge=0)] = 0.0
    """w of Ho and Salimans, eq. 6: by how much the condition is overstated. At 0 half of a lesion stays in the healthy
    version, at 2 a tenth; which pixels score highest hardly changes, but reading takes nearly twice as long."""

    draws: Count = 4
    """``one-step`` only: fields of noise that are averaged over, in pairs of opposite sign."""

    sampling_steps: Count = 4
    """``counterfactual`` only: steps to the level, and as many back."""

    mirrored: bool = False
    """Whether what is read is the mean with what is read of the mirror image; takes twice as long."""

    neighbours: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """How much the score of a neighbouring slice of the same series counts, the slice's own being 1; slices that come
    alone are read alone."""

    noise_seed: Annotated[int, Meta(ge=0)] = 0
    """Of the noise in a reading, which is the same for every slice."""

    @property
    def stride(self) -> int:
        """Sides of the canvas must be multiples of it."""
        return self.network.stride

    def build(self) -> DiffusionMethod:
        """The method, with fresh weights."""
        return DiffusionMethod(self)

    def build_network(self) -> Denoiser:
        """The network alone, with fresh weights."""
        return Denoiser(self.network)

    @torch.no_grad()
    def read(self, network: nn.Module, images: Tensor) -> Reading:
        """Score and healthy version of slices (B, 1, H, W) in network grey."""
        if not self.mirrored:
            return self._read(network, images)
        here, there = self._read(network, images), self._read(network, images.flip(3))
        return Reading((here.score + there.score.flip(3)) / 2, (here.healthy + there.healthy.flip(3)) / 2)

    def _read(self, network: nn.Module, images: Tensor) -> Reading:
        lungs = lungs_of(images)
        conditions = (Condition.NORMAL, Condition.LESION) if self.heat_map == "contrast" else (Condition.NORMAL,)
        denoise = guided(network, lungs, self.guidance)
        if self.reading == "one-step":
            fields = noise_fields(images, self.draws, self.colour, self.noise_seed)
            drawn = one_step(denoise, images * SPREAD, fields, self.level, conditions)
        else:
            drawn = counterfactual(denoise, images * SPREAD, self.level, self.sampling_steps, conditions)
        return heat_map(images, [one / SPREAD for one in drawn], lungs, self.heat_map)


def heat_map(images: Tensor, drawn: list[Tensor], lungs: Tensor, kind: HeatMap) -> Reading:
    """The score of every pixel, 0 to 1, one scale for all slices, and the healthy version; (B, 1, H, W) each.

    ``residual`` is half of |x - h|, h being what is drawn as of a normal slice, and ``residual-positive`` its
    positive side alone: lesions are denser than lung. ``contrast`` is half of l - h where it is positive, l being
    what is drawn as of a slice with lesion: what the denoiser cannot draw at all, vessels and edges, is in neither
    and cancels. There the healthy version is x without that difference, and so keeps its detail.

    Args:
        images: (B, 1, H, W), network grey.
        drawn: h, and for ``contrast`` l, like ``images``.
        lungs: (B, 1, H, W), 1 inside, 0 outside, where slices are left alone.
        kind: which of them.
    """
    normal, *lesion = drawn
    if kind == "contrast":
        found = (lesion[0] - normal).clip(0, 2) * lungs
        return Reading(found / 2, images - found)
    difference = (images - normal.clip(-1, 1)) * lungs
    score = difference.abs() if kind == "residual" else difference.clip(min=0)
    return Reading(score / 2, images - difference)


def noise_fields(like: Tensor, count: int, colour: float, seed: int) -> Iterator[Tensor]:
    """Fields of noise, (1, 1, H, W), the same for the same seed on every device; each second one turned over."""
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        if number % 2 == 0:
            white = torch.randn(1, 1, *like.shape[-2:], generator=generator)
            field = coloured(white, colour).to(like.device, like.dtype)
        yield -field if number % 2 else field


def guided(network: nn.Module, lungs: Tensor, guidance: float) -> Denoise:
    """The network with its condition overstated (Ho and Salimans 2022, eq. 6)."""

    def ask(noisy: Tensor, level: float, condition: Condition) -> Tensor:
        count = len(noisy)
        levels = torch.full((count,), level, device=noisy.device)
        conditions = torch.full((count,), int(condition), device=noisy.device)
        answer: Tensor = network(noisy, lungs, levels, conditions)
        return answer

    def overstated(noisy: Tensor, level: float, condition: Condition) -> Tensor:
        v = ask(noisy, level, condition)
        if guidance and condition != Condition.NONE:
            v = v + guidance * (v - ask(noisy, level, Condition.NONE))
        return v

    return overstated


def one_step(
    denoise: Denoise, clean: Tensor, fields: Iterator[Tensor], level: float, conditions: tuple[Condition, ...]
) -> list[Tensor]:
    """The denoiser's estimates of slices, (B, 1, H, W), one for each condition: means over fields of noise."""
    sums, count = [torch.zeros_like(clean) for _ in conditions], 0
    for field in fields:
        noisy = noised(clean, field, level)
        for total, condition in zip(sums, conditions, strict=True):
            total += taken_apart(noisy, denoise(noisy, level, condition), level).clean
        count += 1
    return [total / count for total in sums]


def counterfactual(
    denoise: Denoise, clean: Tensor, level: float, steps: int, conditions: tuple[Condition, ...]
) -> list[Tensor]:
    """Slices, (B, 1, H, W), led to a level without a condition, and back under each; DDIM, no noise is drawn."""
    levels = torch.linspace(0, level, steps + 1).tolist()
    noisy = walk(denoise, clean, levels, Condition.NONE)
    return [walk(denoise, noisy, levels[::-1], condition) for condition in conditions]


def walk(denoise: Denoise, noisy: Tensor, levels: list[float], condition: Condition) -> Tensor:
    """From the first of some levels to the last by DDIM's steps (Song et al. 2020, eq. 12 without new noise)."""
    for here, there in pairwise(levels):
        noisy = noised(*taken_apart(noisy, denoise(noisy, here, condition), here), there)
    return noisy


class DiffusionMethod(SingleNetworkMethod):
    """Trains the denoiser on slices of both labels."""

    def __init__(self, settings: DiffusionSettings) -> None:
        self.settings = settings
        super().__init__(settings.build_network(), settings, steepest=1.0)

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch: the mean square error of v inside the lungs (Ho et al. 2020, eq. 14, for v)."""
        images = batch.images
        noise = coloured(torch.randn_like(images), self.settings.colour)
        level, condition = draw_levels(images), draw_conditions(batch, self.settings.label_dropout)
        clean, lungs = images * SPREAD, lungs_of(images)
        v = self.network(noised(clean, noise, _each(level)), lungs, level, condition)
        loss = squared_error(v, clean, noise, level, lungs)
        self.descend(loss, number)
        return {"denoising": loss.detach()}


def draw_levels(images: Tensor) -> Tensor:
    """A level for each slice, (B,), 0 to 1, spread evenly over the batch and in no order."""
    count = len(images)
    order = torch.randperm(count, device=images.device)
    return (order + torch.rand(count, device=images.device)) / count


def draw_conditions(batch: Batch, dropout: float) -> Tensor:
    """The labels of a batch's images, (2B,), int64, a share of them left out."""
    sizes = torch.tensor([len(batch.normal), len(batch.lesion)], device=batch.normal.device)
    labels = torch.tensor([Condition.NORMAL, Condition.LESION], device=sizes.device).repeat_interleave(sizes)
    return labels.where(torch.rand(len(labels), device=sizes.device) >= dropout, int(Condition.NONE))


def squared_error(v: Tensor, clean: Tensor, noise: Tensor, level: Tensor, lungs: Tensor) -> Tensor:
    """Mean square over the lungs' pixels of how far v is from what it was; a scalar.

    Args:
        v: (B, 1, H, W), predicted.
        clean: (B, 1, H, W), what was noised.
        noise: (B, 1, H, W), by what.
        level: (B,), how far.
        lungs: (B, 1, H, W), 1 inside, 0 outside.
    """
    signal, sigma = strengths(_each(level))
    wrong = (v - (signal * noise - sigma * clean)).square()
    return (wrong * lungs).sum() / lungs.sum().clip(min=1)


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
