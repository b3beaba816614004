"""VA-GAN: the smallest change of a slice with lesion that a critic takes for normal.

Baumgartner et al., "Visual Feature Attribution Using Wasserstein GANs", CVPR 2018 (arXiv 1711.08998).
A network draws a map M(x) to be added to slices x with lesion. A critic D learns to tell x + M(x) from
normal slices, M learns to deceive it, and the L1 norm of M keeps it from changing more than it must:

    min over M, max over D:  mean D(normal) - mean D(x + M(x)) + 100 mean |M(x)|

Where this departs from them:

* The gradient penalty's norm is over the whole image, as Gulrajani et al. 2017 define it. Their TensorFlow
  code takes it over one axis of the image, so that it is every line of pixels, not the slice, that D may
  have slope one on: their D may be steeper, by up to the root of the number of lines, and their L1 weighs
  less beside it.
* Critic and map network share a batch when both are trained, where theirs draw a new one each.
* One long phase of the critic at the start, where theirs has 25: see `Optimisation.long_first`.
* The critic is the one that every method here has, without their seven layers at full resolutions; the U-Net
  halves resolution by a strided convolution.

To change a term of the loss, change `objective`; to change its weight, change `Objective`.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Annotated, ClassVar, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.losses import Terms
from lesionsplit.methods.adversarial import AdversarialMethod, frozen
from lesionsplit.methods.base import Reading
from lesionsplit.networks.critic import CriticSettings
from lesionsplit.networks.translator import Translator, TranslatorSettings
from lesionsplit.settings import Settings

Weight = Annotated[float, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Steps = Annotated[int, Meta(ge=1)]


class Objective(Settings, frozen=True):
    """What the map network is asked for."""

    adversarial: Weight = 1.0
    """x + M(x) passes for a normal slice."""

    size: Weight = 100.0
    """lambda: mean over pixels of |M(x)|. The paper writes a norm, a sum over pixels, and a weight of 100;
    their code takes the mean, and only a mean can be meant: D has slope one, so that no change of a slice
    gains more than its own L2 norm, and at 100 times its L1 norm no change would ever pay. With the
    mean a pixel costs 100 / (H W), and gains the less the more pixels D looks at: on a canvas that is a
    fraction of 256 x 256 a smaller weight does what 100 does there."""

    penalty: Weight = 10.0
    """The critic has slope one."""


class Optimisation(Settings, frozen=True):
    """How the objective is pursued: the paper's Adam and its schedule, which counts batches."""

    learning_rate: Rate = 1e-3
    """The paper's, for both networks; the authors came to prefer 1e-4 for images of two dimensions."""

    critic_learning_rate: Rate = 1e-3
    betas: tuple[Share, Share] = (0.0, 0.9)

    critic_steps: Steps = 5
    """Batches that the critic learns from for each that the map network learns from."""

    critic_long: Steps = 100
    """The same of a long phase, in which the critic catches up."""

    long_first: Annotated[int, Meta(ge=0)] = 1
    """How many of the map network's first steps a long phase comes before. The paper has 25, which is 2500
    batches before the map network has learnt anything to speak of; a short run has not that many."""

    long_every: Annotated[int, Meta(ge=0)] = 100
    """A long phase comes before every that many-th later step of the map network, too. Zero: never."""


HeatMap = Literal["absolute", "positive"]


class VaGanSettings(Settings, frozen=True, tag_field="name", tag="va-gan"):
    """Everything about the method."""

    annotator: ClassVar[None] = None
    """Nobody's mask reaches it."""

    teaching: ClassVar[None] = None
    neighbours: ClassVar[float] = 0.0
    reach: ClassVar[int] = 0
    stream: ClassVar[tuple[int, ...]] = (1,)

    network: TranslatorSettings = TranslatorSettings(channels=(16, 32, 64, 128))
    """The map network; the authors' width for images of two dimensions."""

    output: Literal["linear", "tanh"] = "linear"
    """``linear``: x + M(x) (the paper). ``tanh``: tanh(x + M(x)), the authors' code, which cannot leave a slice as it
    is without redrawing it."""

    critic: CriticSettings = CriticSettings()
    objective: Objective = Objective()
    optimisation: Optimisation = Optimisation()
    heat_map: HeatMap = "absolute"
    """What is read as the score; see `heat_map`."""

    @property
    def stride(self) -> int:
        """Both sides of the canvas must be multiples of it."""
        return self.network.stride

    def build(self) -> VaGanMethod:
        """The method, with fresh weights."""
        return VaGanMethod(self)

    def build_network(self) -> VaGanNet:
        """The map network alone, with fresh weights."""
        return VaGanNet(self.network, self.output)

    def read(self, network: nn.Module, images: Tensor) -> Reading:
        """Score and healthy version of slices (B, 1, H, W) in network grey."""
        change: Tensor = network(images)
        return Reading(heat_map(change, self.heat_map), (images + change).clip(-1, 1))


class VaGanNet(nn.Module):
    """M: what to add to a slice with lesion for it to be normal."""

    def __init__(self, settings: TranslatorSettings, output: Literal["linear", "tanh"]) -> None:
        super().__init__()
        self.translator = Translator(settings)
        self.output = output

    def forward(self, image: Tensor) -> Tensor:
        """The change of a batch of images, (B, 1, H, W), in network grey; unbounded, or within them if tanh.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        drawn: Tensor = self.translator(image)
        return drawn if self.output == "linear" else torch.tanh(image + drawn) - image


def objective(image: Tensor, change: Tensor, critic: nn.Module) -> Terms:
    """What the map network is asked for, term by term, not yet weighted.

    Args:
        image: slices with lesion, (B, 1, H, W).
        change: what the network adds to them, (B, 1, H, W).
        critic: rates a batch of slices, (B,); a constant here.
    """
    return {"adversarial": -critic(image + change).mean(), "size": change.abs().mean()}


def heat_map(change: Tensor, kind: HeatMap) -> Tensor:
    """The score of every pixel, 0 to 1, (B, 1, H, W), from the change (B, 1, H, W) that makes a slice healthy.

    ``absolute`` is half of |change|, a difference of two values in [-1, 1], as the paper shows it.
    ``positive`` is half of what is taken away alone: lesions are denser than lung.
    """
    return ((change.abs() if kind == "absolute" else -change) / 2).clip(0, 1)


def trains_network(number: int, schedule: Optimisation) -> bool:
    """Whether the map network learns from the ``number``-th batch, from 0, and not the critic alone."""

    def batches(steps: int) -> int:
        """Batches that the first ``steps`` steps of the map network take, those of the critic before each counted."""
        early = min(steps, schedule.long_first)
        long = early
        if schedule.long_every:  # multiples of it among the steps from `early` on
            long += -(-steps // schedule.long_every) + (-early // schedule.long_every)
        return steps * schedule.critic_steps + long * (schedule.critic_long - schedule.critic_steps)

    steps = bisect_left(range(number + 2), number + 1, key=batches)
    return batches(steps) == number + 1


class VaGanMethod(AdversarialMethod):
    """Trains map network and critic, each with its optimiser."""

    def __init__(self, settings: VaGanSettings) -> None:
        super().__init__(settings.build_network(), settings.critic, settings.optimisation)
        self.settings = settings

    def step(self, batch: Batch, number: int) -> Terms:
        """Train the critic on the batch and, when it is its turn, the map network too, which sees no normal slice."""
        settings = self.settings.objective
        its_turn = trains_network(number, self.settings.optimisation)
        with torch.set_grad_enabled(its_turn):
            change: Tensor = self.network(batch.lesion)
        measured = self.train_critic(batch.normal, batch.lesion + change, settings.penalty)
        if its_turn:
            with frozen(self.critic):
                measured |= self.train_network(objective(batch.lesion, change, self.critic), settings)
        return {name: term.detach() for name, term in measured.items()}
