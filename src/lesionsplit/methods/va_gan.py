"""VA-GAN: the smallest change of a slice with lesion that makes a critic rate it as normal.

Baumgartner et al., "Visual Feature Attribution Using Wasserstein GANs", CVPR 2018 (arXiv 1711.08998).
A network M computes a map M(x) that is added to slices x with lesion. A critic D learns to distinguish x + M(x)
from normal slices, M learns to raise its rating, and the L1 norm of M(x) keeps the change small:

    min over M, max over D:  mean D(normal) - mean D(x + M(x)) + 100 mean |M(x)|

Differences from the authors:

* The norm in the gradient penalty is over the whole image, as Gulrajani et al. 2017 define it. The authors'
  TensorFlow code takes it over one axis, so that D may have slope one on every line of pixels instead of on
  the slice. Their D may be steeper, by up to the root of the number of lines, and their L1 term counts less.
* Critic and map network use the same batch when both are trained; theirs use two batches.
* The critic has one long phase at the start, theirs has 25: see `Optimisation.critic_long_warmup`.
* The critic is that of the other methods here, without their seven layers at full resolution; the U-Net
  halves the resolution by a strided convolution.

To change a term of the loss, change `objective`; to change its weight, change `Objective`.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Literal

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.domains.base import Domain
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.losses import Terms
from lesionsplit.methods.adversarial import AdversarialMethod, frozen
from lesionsplit.methods.base import MethodOutput, MethodSettings, scaled_steps
from lesionsplit.networks.critic import Critic, CriticSettings
from lesionsplit.networks.translator import TranslatorSettings, build_translator
from lesionsplit.settings import BelowOne, Count, NonNegative, NonNegativeInt, Positive, Settings


class Objective(Settings, frozen=True):
    """Weights of the terms of the map network's loss."""

    adversarial: NonNegative = 1.0
    """Minus the critic's rating of x + M(x)."""

    size: NonNegative = 100.0
    """lambda: mean over pixels of |M(x)|. The paper writes a norm, that is a sum over pixels, with a weight of 100;
    the authors' code takes the mean. A sum cannot be meant: D has slope one, so a change of a slice gains at
    most its L2 norm, and at 100 times its L1 norm no change would ever pay. With the mean, a pixel costs
    100 / (H W); on a canvas smaller than 256 x 256 a smaller weight has the same effect."""

    penalty: NonNegative = 10.0
    """Gradient penalty of the critic."""


class Optimisation(Settings, frozen=True):
    """Adam and the schedule of the paper, in batches."""

    learning_rate: Positive = 1e-3
    """The paper's, for both networks; for two-dimensional images the authors later preferred 1e-4."""

    critic_learning_rate: Positive = 1e-3
    betas: tuple[BelowOne, BelowOne] = (0.0, 0.9)

    critic_steps: Count = 5
    """Batches that train the critic for each batch that trains the map network."""

    critic_long: Count = 100
    """The same in a long phase of the critic."""

    critic_long_warmup: NonNegativeInt = 1
    """The number of first steps of the map network that follow a long phase each. The paper has 25, which is 2500
    batches at the start; a short run is over by then."""

    long_every: NonNegativeInt = 100
    """A later step of the map network follows a long phase if its number is a multiple of this. Zero: none does."""


HeatMap = Literal["absolute", "positive"]


class VaGanSettings(MethodSettings, frozen=True, tag_field="name", tag="va-gan"):
    """All settings of the method."""

    network: TranslatorSettings = TranslatorSettings(channels=(16, 32, 64, 128))
    """The map network, with the authors' width for two-dimensional images."""

    output: Literal["linear", "tanh"] = "linear"
    """``linear``: x + M(x) (the paper). ``tanh``: tanh(x + M(x)), the authors' code; to copy a slice, M must then
    undo the tanh."""

    critic: CriticSettings = CriticSettings()
    objective: Objective = Objective()
    optimisation: Optimisation = Optimisation()
    heat_map: HeatMap = "absolute"
    """How the score is computed; see `heat_map`."""

    def scaled(self, factor: float) -> VaGanSettings:
        """With long phases of the critic as long as a share of the training; see `Optimisation.critic_long`."""
        schedule = self.optimisation
        long = max(schedule.critic_steps, scaled_steps(schedule.critic_long, factor))
        return replace(self, optimisation=replace(schedule, critic_long=min(long, schedule.critic_long)))

    def build(self, domain: Domain = LUNGS) -> VaGanMethod:
        """The method, with fresh weights."""
        return VaGanMethod(self, domain)

    def build_network(self, domain: Domain = LUNGS) -> VaGanNet:
        """The map network alone, with fresh weights."""
        return VaGanNet(self.network, self.output, domain.channels)

    def infer(self, network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> MethodOutput:
        """Score and healthy version of slices (B, 1, H, W) in network grey."""
        change: Tensor = network(images)
        return MethodOutput(heat_map(change, self.heat_map, domain), (images + change).clip(-1, 1))


class VaGanNet(nn.Module):
    """M: from a slice to the change that makes it normal."""

    def __init__(self, settings: TranslatorSettings, output: Literal["linear", "tanh"], channels: int = 1) -> None:
        super().__init__()
        self.translator = build_translator(settings, channels)
        self.output = output

    def forward(self, image: Tensor) -> Tensor:
        """The change for a batch of images, (B, 1, H, W), in network grey; with ``linear`` it is unbounded.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        change: Tensor = self.translator(image)
        return change if self.output == "linear" else torch.tanh(image + change) - image


def objective(image: Tensor, change: Tensor, critic: nn.Module) -> Terms:
    """The terms of the map network's loss, not yet weighted.

    Args:
        image: slices with lesion, (B, 1, H, W).
        change: the network's output for them, (B, 1, H, W).
        critic: rates a batch of slices, (B,); not trained here.
    """
    return {"adversarial": -critic(image + change).mean(), "size": change.abs().mean()}


def heat_map(change: Tensor, kind: HeatMap, domain: Domain = LUNGS) -> Tensor:
    """The score of every pixel, 0 to 1, (B, 1, H, W), from the change (B, C, H, W) that makes a slice healthy.

    ``absolute`` is half of |change|, a difference of two values in [-1, 1], as in the paper. ``positive`` is half
    of what the change removes and a lesion can have: in lungs, what is denser.
    """
    part = change.abs() if kind == "absolute" else domain.lesion_part(-change)
    return (domain.size(part) / 2).clip(0, 1)


def trains_network(number: int, schedule: Optimisation) -> bool:
    """Whether the ``number``-th batch, from 0, trains the map network and not the critic alone."""

    def batches(steps: int) -> int:
        """Batches up to the end of the first ``steps`` steps of the map network, those of the critic included."""
        early = min(steps, schedule.critic_long_warmup)
        long = early
        if schedule.long_every:  # multiples of it among the steps from `early` on
            long += -(-steps // schedule.long_every) + (-early // schedule.long_every)
        return steps * schedule.critic_steps + long * (schedule.critic_long - schedule.critic_steps)

    steps = bisect_left(range(number + 2), number + 1, key=batches)
    return batches(steps) == number + 1


class VaGanMethod(AdversarialMethod):
    """Trains map network and critic, each with its optimiser."""

    def __init__(self, settings: VaGanSettings, domain: Domain = LUNGS) -> None:
        network = settings.build_network(domain)  # before the critic: a seed means these weights
        super().__init__(network, Critic(settings.critic, domain.channels), settings.optimisation)
        self.settings = settings

    def step(self, batch: Batch, number: int) -> Terms:
        """Train the critic on the batch and, if the schedule says so, the map network on its slices with lesion."""
        settings = self.settings.objective
        trains = trains_network(number, self.settings.optimisation)
        with torch.set_grad_enabled(trains):
            change: Tensor = self.network(batch.lesion)
        measured = self.train_critic(batch.normal, batch.lesion + change, settings.penalty)
        if trains:
            with frozen(self.critic):
                measured |= self.train_network(objective(batch.lesion, change, self.critic), settings)
        return measured
