"""The critics of `separation`: what tells healthy versions from normal slices, and how to make them more alike.

A critic is trained on normal slices and on healthy versions of slices with lesion. For a healthy version, it gives a
direction: the change of each pixel that makes the slice more normal. There are three:

* ``score``: one denoiser, told whether a noised slice is normal or a healthy version. The direction is the difference
  of its two estimates of the slice (distribution matching distillation, Yin et al. 2024, arXiv 2311.18828, eq. 7).
* ``patch``: rates patches of noised slices (Goodfellow et al. 2014, eq. 1; patches as Isola et al. 2017). The
  direction is the gradient of the rating.
* ``wasserstein``: the paper's critic, which rates whole slices (eq. 3). The direction is the gradient of the rating.

To change what a critic learns, change its `forward`; to change what the network gets from it, its `towards_normal`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lesionsplit.data.normalise import SPREAD
from lesionsplit.errors import SettingsError
from lesionsplit.losses import CriticLoss, Terms
from lesionsplit.methods.diffusion import draw_levels, squared_error
from lesionsplit.networks.critic import Critic, CriticSettings, PatchCritic, PatchCriticSettings
from lesionsplit.networks.denoiser import Condition, Denoiser, DenoiserSettings, clean_and_noise, coloured, noised
from lesionsplit.settings import BelowOne, Count, NonNegative, Settings
from lesionsplit.synthesis.fields import quantile

QUANTILE, SIZE, MEMORY = 0.95, 2.0, 0.95
"""The directions of a critic are scaled so that this quantile of their absolute values in the lungs, averaged over
steps with this decay, is `SIZE`. The gradients of a critic grow and shrink by orders of magnitude during training."""


class View(NamedTuple):
    """Slices as a critic gets them; (B, 1, H, W) each."""

    images: Tensor
    """Network grey."""

    lungs: Tensor
    """1 inside, 0 outside."""


class ScoreCriticSettings(Settings, frozen=True, tag_field="name", tag="score"):
    """The denoiser is a copy of the network, made when pretraining ends."""

    levels: tuple[BelowOne, BelowOne] = (0.25, 0.8)
    """Noise levels of the direction, from and to: too little noise hides no lesion, too much hides the lung."""

    draws: Count = 1
    """Noise fields for each direction, in pairs of opposite sign."""

    def __post_init__(self) -> None:
        low, high = self.levels
        if not 0 < low <= high:
            raise SettingsError(
                f"method.critic.levels: are {low:g} and {high:g}; allowed: above 0, the lower one first"
            )


class PatchSettings(Settings, frozen=True, tag_field="name", tag="patch"):
    """A small network of its own."""

    network: PatchCriticSettings = PatchCriticSettings()
    noise: NonNegative = 0.5
    """Standard deviation of the white noise on its inputs, as a multiple of that of lung grey: without noise, it learns
    to recognise the texture of the network's output."""


class WassersteinSettings(Settings, frozen=True, tag_field="name", tag="wasserstein"):
    """The paper's critic."""

    network: CriticSettings = CriticSettings(channels=(32, 32, 64, 64), norm="layer")
    penalty: NonNegative = 10.0
    """lambda: gradient penalty (eq. 3)."""


CriticChoice: TypeAlias = ScoreCriticSettings | PatchSettings | WassersteinSettings
"""Settings of one of the critics, selected by `name` in the table [method.critic]."""


class DirectionCritic(nn.Module):
    """A critic; subclasses define `forward`, the terms of its loss, and `towards_normal`."""

    size: Tensor
    """The averaged quantile of the directions before scaling; 0 until the first."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("size", torch.zeros(()))

    def forward(self, normal: View, healed: View) -> Terms:
        """The terms of the critic's loss, weighted, for normal slices and healthy versions."""
        raise NotImplementedError

    def towards_normal(self, healed: View) -> Tensor:
        """The direction in which healthy versions become more normal, (B, 1, H, W), of any scale."""
        raise NotImplementedError

    def start_from(self, denoiser: nn.Module) -> None:
        """Begin with the weights of a pretrained denoiser, where the critic is one."""

    def direction(self, healed: View) -> Tensor:
        """`towards_normal` scaled to `SIZE`; 0 outside the lungs, no gradient."""
        change = self.towards_normal(healed).detach() * healed.lungs
        inside = change.abs()[(healed.lungs > 0).expand_as(change)]
        if len(inside):
            now = quantile(inside, QUANTILE)
            self.size.copy_(torch.where(self.size > 0, torch.lerp(now, self.size, MEMORY), now))
        return change * (SIZE / self.size.clip(min=1e-12))


class ScoreCritic(DirectionCritic):
    """A denoiser that learns normal slices and healthy versions, each under a condition of its own."""

    def __init__(
        self, settings: ScoreCriticSettings, network: DenoiserSettings, colour: float, channels: int = 1
    ) -> None:
        super().__init__()
        self.denoiser = Denoiser(network, 1 + 2 * channels, conditions=len(Condition), channels=channels)
        self.settings, self.colour = settings, colour

    def start_from(self, denoiser: nn.Module) -> None:
        """Copy a denoiser; a healthy version begins as a slice without a label."""
        self.denoiser.load_state_dict(denoiser.state_dict())
        with torch.no_grad():
            table = self.denoiser.condition.weight
            table[Condition.HEALED] = table[Condition.NONE]

    def forward(self, normal: View, healed: View) -> Terms:
        """The denoising loss (`squared_error`)."""
        images = torch.cat([normal.images, healed.images])
        conditions = _labels(len(normal.images), images.device)
        return {
            "critic": denoising_loss(
                self.denoiser, View(images, torch.cat([normal.lungs, healed.lungs])), conditions, self.colour
            )
        }

    @torch.no_grad()
    def towards_normal(self, healed: View) -> Tensor:
        """The estimate of the slice as normal, less that as a healthy version, both from the same noised slice."""
        images, lungs = healed
        count, (low, high) = len(images), self.settings.levels
        conditions, total = _labels(count, images.device), torch.zeros_like(images)
        for number in range(self.settings.draws):
            if number % 2 == 0:
                noise = coloured(torch.randn_like(images), self.colour)
                level = low + (high - low) * torch.rand(count, device=images.device)
            noisy = noised(images * SPREAD, noise if number % 2 == 0 else -noise, level.view(-1, 1, 1, 1))
            v = self.denoiser(noisy.repeat(2, 1, 1, 1), lungs.repeat(2, 1, 1, 1), level.repeat(2), conditions)
            normal, own = (clean_and_noise(noisy, one, level.view(-1, 1, 1, 1)).clean for one in estimate(v).chunk(2))
            total += normal - own
        return total


class PatchwiseCritic(DirectionCritic):
    """Rates patches of noised slices, by logistic regression."""

    def __init__(self, settings: PatchSettings, channels: int = 1) -> None:
        super().__init__()
        self.critic = PatchCritic(settings.network, channels)
        self.noise = settings.noise

    def forward(self, normal: View, healed: View) -> Terms:
        """Cross-entropy of the ratings, over the patches' share of the lungs."""
        loss = (self._doubt(normal, 1) + self._doubt(healed, -1)) / 2
        return {"critic": loss}

    def towards_normal(self, healed: View) -> Tensor:
        """The gradient of the log-probability that the patches are normal."""
        with torch.enable_grad():
            images = healed.images.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(-self._doubt(View(images, healed.lungs), 1), images)
        return gradient

    def _doubt(self, view: View, sign: int) -> Tensor:
        """Mean of -log P(normal) with a ``sign`` of 1, of -log P(healthy version) with -1."""
        images = view.images * SPREAD
        ratings = self.critic(images + self.noise * torch.randn_like(images), view.lungs)
        weight = F.avg_pool2d(view.lungs, PatchCritic.STRIDE)
        return (F.softplus(-sign * ratings) * weight).sum() / weight.sum().clip(min=1)


class WassersteinCritic(DirectionCritic):
    """Rates whole slices (eq. 3)."""

    def __init__(self, settings: WassersteinSettings, channels: int = 1) -> None:
        super().__init__()
        self.loss = CriticLoss(Critic(settings.network, channels))
        self.penalty = settings.penalty

    def forward(self, normal: View, healed: View) -> Terms:
        """Eq. 3; see `CriticLoss`."""
        terms: Terms = self.loss(normal.images, healed.images)
        return {"critic": terms["critic"], "penalty": self.penalty * terms["penalty"]}

    def towards_normal(self, healed: View) -> Tensor:
        """The gradient of the rating."""
        with torch.enable_grad():
            images = healed.images.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.loss.critic(images).sum(), images)
        return gradient


def build_critic(
    settings: CriticChoice, network: DenoiserSettings, colour: float, channels: int = 1
) -> DirectionCritic:
    """The chosen critic, with fresh weights."""
    if isinstance(settings, ScoreCriticSettings):
        return ScoreCritic(settings, network, colour, channels)
    if isinstance(settings, PatchSettings):
        return PatchwiseCritic(settings, channels)
    return WassersteinCritic(settings, channels)


def denoising_loss(denoiser: nn.Module, view: View, conditions: Tensor, colour: float) -> Tensor:
    """The denoising loss of slices, a scalar: as `diffusion`'s, for a denoiser whose last output is v.

    Args:
        denoiser: a `Denoiser` whose last outputs are v.
        view: the slices.
        conditions: (B,), int64, a `Condition` each.
        colour: of the noise.
    """
    clean, level = view.images * SPREAD, draw_levels(view.images)
    noise = coloured(torch.randn_like(clean), colour)
    v = estimate(denoiser(noised(clean, noise, level.view(-1, 1, 1, 1)), view.lungs, level, conditions))
    return squared_error(v, clean, noise, level, view.lungs)


def estimate(outputs: Tensor) -> Tensor:
    """v, the last C of a denoiser's 1 + 2 C output images."""
    return outputs[:, (outputs.shape[1] + 1) // 2 :]


def shape_blind(normal: View, healed: View) -> tuple[View, View]:
    """Slices of both labels, each pair cut to the intersection of its lungs; black outside."""
    lungs = normal.lungs * healed.lungs
    cut = [View(torch.where(lungs > 0, one.images, -1.0), lungs) for one in (normal, healed)]
    return cut[0], cut[1]


def _labels(count: int, device: torch.device) -> Tensor:
    """The conditions of ``count`` normal slices and as many healthy versions, (2 count,)."""
    return torch.tensor([Condition.NORMAL, Condition.HEALED], device=device).repeat_interleave(count)
