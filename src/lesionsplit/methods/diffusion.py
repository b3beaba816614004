"""Healthy versions from a small diffusion model that is conditioned on the image label.

A denoiser learns slices of both labels (Ho et al. 2020); some labels are dropped (Ho and Salimans 2022). Prediction
adds noise until it hides the lesions, then denoises under the label normal: either in one step, by the denoiser's
estimate of the slice (as pDDPM, Behrendt et al. 2023), or along the deterministic path of DDIM (Song et al. 2020,
eq. 12) to the noise level and back (Sanchez et al. 2022).

Differences from these papers, most of them to fit two CPU cores: levels are continuous; the network predicts v
instead of the noise (Salimans and Ho 2022); its inputs are the lung pixels and the lung mask; the noise is coloured
(`coloured`), where AnoDDPM (Wyatt et al. 2022) has simplex noise. The score is not the slice minus its healthy
version, but the result under the label lesion minus the result under the label normal (`heat_map`).

To change the loss, change `DiffusionMethod.step`; to change the sampling, `one_step` or `counterfactual`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

import torch
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.normalise import SPREAD
from lesionsplit.data.sampling import Batch
from lesionsplit.domains.base import Domain
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.losses import Terms, masked_mean
from lesionsplit.methods.base import MethodOutput, MethodSettings, mirror_mean
from lesionsplit.methods.optimisation import SingleNetworkMethod
from lesionsplit.networks.denoiser import (
    Condition,
    Denoiser,
    DenoiserSettings,
    clean_and_noise,
    coloured,
    noised,
    strengths,
)
from lesionsplit.settings import BelowOne, Count, Fraction, NonNegative, NonNegativeInt, Positive

HeatMap = Literal["residual", "residual-positive", "contrast"]

Denoise: TypeAlias = Callable[[Tensor, float, Condition], Tensor]
"""v, (B, 1, H, W), of noisy slices, (B, 1, H, W), at a level, under a condition."""


class DiffusionSettings(MethodSettings, frozen=True, tag_field="name", tag="diffusion"):
    """All settings of the method."""

    network: DenoiserSettings = DenoiserSettings()
    colour: Annotated[float, Meta(ge=0, le=2)] = 1.0
    """How much stronger coarse noise is than fine noise; see `coloured`. 0 is the usual white noise, which does not
    hide structures larger than a few pixels."""

    label_dropout: BelowOne = 0.1
    """Fraction of slices whose label is dropped in training."""

    learning_rate: Positive = 1e-3
    warmup_steps: Count = 50
    """Steps over which the learning rate rises to `learning_rate`."""

    sampling_method: Literal["one-step", "counterfactual"] = "counterfactual"
    """How the healthy version is computed. ``one-step``: the denoiser's estimate from the noised slice, averaged over
    a few noise fields. ``counterfactual``: along DDIM's path to the level and back; sharper, without random noise."""

    heat_map: HeatMap = "contrast"
    """How the score is computed; see `heat_map`."""

    level: Annotated[float, Meta(gt=0, lt=1)] = 0.7
    """Noise level in prediction: 0 is the slice, 1 pure noise, 0.5 equal parts. ``one-step`` needs less, about 0.4."""

    guidance: NonNegative = 0.0
    """w of Ho and Salimans, eq. 6, the weight of classifier-free guidance. At 0 the healthy version keeps half of a
    lesion, at 2 a tenth; the ranking of pixels hardly changes, but prediction takes nearly twice as long."""

    draws: Count = 4
    """``one-step`` only: number of noise fields, in pairs of opposite sign."""

    sampling_steps: Count = 4
    """``counterfactual`` only: number of steps to the level, and of steps back."""

    mirror_average: bool = False
    """Whether to average the outputs for the slice and its mirror image; takes twice as long."""

    neighbour_weight: Fraction = 0.0
    """Weight of the score of a neighbouring slice of the same series, relative to the slice's own; a single slice has
    no neighbours."""

    noise_seed: NonNegativeInt = 0
    """Of the noise in prediction, which is the same for every slice."""

    @property
    def learns_from_normals(self) -> bool:
        """Yes, where the score needs no label lesion."""
        return self.heat_map != "contrast"

    @property
    def forward_passes(self) -> int:
        """Those of the sampling, for each label that the score needs."""
        labels = 2 if self.heat_map == "contrast" else 1
        guided = labels * (2 if self.guidance else 1)
        steps = self.draws * guided if self.sampling_method == "one-step" else self.sampling_steps * (1 + guided)
        return steps * super().forward_passes

    def build(self, domain: Domain = LUNGS) -> DiffusionMethod:
        """The method, with fresh weights."""
        return DiffusionMethod(self, domain)

    def build_network(self, domain: Domain = LUNGS) -> Denoiser:
        """The network alone, with fresh weights."""
        return Denoiser(self.network, domain.channels, channels=domain.channels)

    @torch.no_grad()
    def infer(self, network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> MethodOutput:
        """Score and healthy version of slices (B, 1, H, W) in network grey."""
        output = mirror_mean(lambda one: self._infer(network, one, domain), [images], self.mirror_average)
        return MethodOutput(*output)

    def _infer(self, network: nn.Module, images: Tensor, domain: Domain) -> tuple[Tensor, Tensor]:
        lungs = domain.region(images)
        conditions = (Condition.NORMAL, Condition.LESION) if self.heat_map == "contrast" else (Condition.NORMAL,)
        denoise = guided(network, lungs, self.guidance)
        if self.sampling_method == "one-step":
            fields = noise_fields(images, self.draws, self.colour, self.noise_seed)
            results = one_step(denoise, images * SPREAD, fields, self.level, conditions)
        else:
            results = counterfactual(denoise, images * SPREAD, self.level, self.sampling_steps, conditions)
        return heat_map(images, [result / SPREAD for result in results], lungs, self.heat_map, domain)[:2]


def heat_map(
    images: Tensor, results: list[Tensor], lungs: Tensor, kind: HeatMap, domain: Domain = LUNGS
) -> MethodOutput:
    """The score of every pixel, 0 to 1, one scale for all slices, and the healthy version; (B, 1, H, W) each.

    Let h be the result under the label normal and l the result under the label lesion. ``residual`` is half of
    |x - h|, ``residual-positive`` half of the part of x - h that a lesion can have: the positive one in lungs, which
    are less dense than lesions. ``contrast`` is half of that part of l - h. Details that the denoiser cannot reproduce,
    such as vessels and edges, are missing in both and cancel; the healthy version is x minus that difference, and so
    keeps these details.

    Args:
        images: (B, 1, H, W), network grey.
        results: h, and for ``contrast`` l, of the shape of ``images``.
        lungs: (B, 1, H, W), 1 inside, 0 outside, where slices do not change.
        kind: which score.
        domain: of the images.
    """
    normal, *lesion = results
    if kind == "contrast":
        difference = domain.lesion_part(lesion[0] - normal).clip(-2, 2) * lungs
        return MethodOutput(domain.size(difference) / 2, images - difference)
    difference = (images - normal.clip(-1, 1)) * lungs
    score = difference.abs() if kind == "residual" else domain.lesion_part(difference)
    return MethodOutput(domain.size(score) / 2, images - difference)


def noise_fields(like: Tensor, count: int, colour: float, seed: int) -> Iterator[Tensor]:
    """Noise fields, (1, 1, H, W), in pairs of opposite sign; the same for a seed on every device."""
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        if number % 2 == 0:
            white = torch.randn(1, 1, *like.shape[-2:], generator=generator)
            field = coloured(white, colour).to(like.device, like.dtype)
        yield -field if number % 2 else field


def guided(network: nn.Module, lungs: Tensor, guidance: float) -> Denoise:
    """The network with classifier-free guidance (Ho and Salimans 2022, eq. 6)."""

    def predict(noisy: Tensor, level: float, condition: Condition) -> Tensor:
        count = len(noisy)
        levels = torch.full((count,), level, device=noisy.device)
        conditions = torch.full((count,), int(condition), device=noisy.device)
        v: Tensor = network(noisy, lungs, levels, conditions)
        return v

    def with_guidance(noisy: Tensor, level: float, condition: Condition) -> Tensor:
        v = predict(noisy, level, condition)
        if guidance and condition != Condition.NONE:
            v = v + guidance * (v - predict(noisy, level, Condition.NONE))
        return v

    return with_guidance


def one_step(
    denoise: Denoise, clean: Tensor, fields: Iterator[Tensor], level: float, conditions: tuple[Condition, ...]
) -> list[Tensor]:
    """The denoiser's estimates of slices, (B, 1, H, W), for each condition: means over noise fields."""
    sums, count = [torch.zeros_like(clean) for _ in conditions], 0
    for field in fields:
        noisy = noised(clean, field, level)
        for total, condition in zip(sums, conditions, strict=True):
            total += clean_and_noise(noisy, denoise(noisy, level, condition), level).clean
        count += 1
    return [total / count for total in sums]


def counterfactual(
    denoise: Denoise, clean: Tensor, level: float, steps: int, conditions: tuple[Condition, ...]
) -> list[Tensor]:
    """Slices, (B, 1, H, W), after DDIM's path to a level without condition, and back under each condition."""
    levels = torch.linspace(0, level, steps + 1).tolist()
    noisy = follow(denoise, clean, levels, Condition.NONE)
    return [follow(denoise, noisy, levels[::-1], condition) for condition in conditions]


def follow(denoise: Denoise, noisy: Tensor, levels: list[float], condition: Condition) -> Tensor:
    """Noisy slices after DDIM's steps from level to level (Song et al. 2020, eq. 12 without new noise)."""
    for here, there in pairwise(levels):
        noisy = noised(*clean_and_noise(noisy, denoise(noisy, here, condition), here), there)
    return noisy


class DiffusionMethod(SingleNetworkMethod):
    """Trains the denoiser on slices of both labels."""

    def __init__(self, settings: DiffusionSettings, domain: Domain = LUNGS) -> None:
        self.settings, self.domain = settings, domain
        super().__init__(settings.build_network(domain), settings, max_grad_norm=1.0)

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch: the mean square error of v inside the lungs (Ho et al. 2020, eq. 14, for v)."""
        images = batch.images
        noise = coloured(torch.randn_like(images), self.settings.colour)
        level, condition = draw_levels(images), draw_conditions(batch, self.settings.label_dropout)
        clean, lungs = images * SPREAD, self.domain.region(images)
        v = self.network(noised(clean, noise, _each(level)), lungs, level, condition)
        loss = squared_error(v, clean, noise, level, lungs)
        return self.learn({"denoising": loss}, {"denoising": 1.0}, number)


def draw_levels(images: Tensor) -> Tensor:
    """A random level for each slice, (B,), 0 to 1, one in each of B equal intervals."""
    count = len(images)
    order = torch.randperm(count, device=images.device)
    return (order + torch.rand(count, device=images.device)) / count


def draw_conditions(batch: Batch, dropout: float) -> Tensor:
    """The labels of a batch's images, (2B,), int64, some of them dropped."""
    sizes = torch.tensor([len(batch.normal), len(batch.lesion)], device=batch.normal.device)
    labels = torch.tensor([Condition.NORMAL, Condition.LESION], device=sizes.device).repeat_interleave(sizes)
    return labels.where(torch.rand(len(labels), device=sizes.device) >= dropout, int(Condition.NONE))


def squared_error(v: Tensor, clean: Tensor, noise: Tensor, level: Tensor, lungs: Tensor) -> Tensor:
    """Mean squared error of v over the lungs' pixels; a scalar.

    Args:
        v: (B, 1, H, W), predicted.
        clean: (B, 1, H, W), the slices.
        noise: (B, 1, H, W), added to them.
        level: (B,), of the noise.
        lungs: (B, 1, H, W), 1 inside, 0 outside.
    """
    signal, sigma = strengths(_each(level))
    return masked_mean((v - (signal * noise - sigma * clean)).square(), lungs)


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
