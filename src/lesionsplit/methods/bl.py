"""BL: a classifier and a discriminator together push an encoder-decoder to remove what makes a slice diseased.

Zhang et al., "Biomarker Localization by Combining CNN Classifier and Generative Adversarial Network",
MICCAI 2019 (doi 10.1007/978-3-030-32239-7_24). No code of it is public. From the paper's abstract:

* a CNN classifier and a GAN are combined, in which classifier and discriminator both help an
  encoder-decoder G to remove the biomarkers of abnormal images;
* biomarkers are found by subtracting G(x) from x;
* image labels are all that is used.

The rest is our reading, in the simplest form that says the same:

* The classifier C is the one of `cam` and `grad-cam`. It learns first and is then fixed, in evaluation mode.
* G is asked for four things of equal kind to those of the other methods, with weights of ours: slices
  with lesion become slices that C calls normal (cross-entropy), that the discriminator D takes for normal
  ones, and that stay near the slices they were (L1); normal slices stay as they are (L1).
* D is the critic of the other methods with the Wasserstein loss and its gradient penalty. The paper's own
  form is not public; the first of its references is Arjovsky et al.'s Wasserstein GAN.
* G is a U-Net: it has skips from encoder to decoder, without which fine vessels would be lost and show up
  in the difference.

To change a term of the loss, change `objective`; to change its weight, change `Objective`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.losses import Terms
from lesionsplit.methods.adversarial import AdversarialMethod, frozen
from lesionsplit.methods.base import Reading, bare
from lesionsplit.methods.classifier import ClassifierMethod, ClassifierSettings
from lesionsplit.methods.va_gan import HeatMap, heat_map
from lesionsplit.networks.critic import CriticSettings
from lesionsplit.networks.translator import Translator, TranslatorSettings
from lesionsplit.settings import Settings

Weight = Annotated[float, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]


class Objective(Settings, frozen=True):
    """What G is asked for; a weight of zero takes a term out."""

    normality: Weight = 1.0
    """The classifier calls G(x) normal: its cross-entropy, of slices with lesion."""

    adversarial: Weight = 1.0
    """G(x) passes for a normal slice, of slices with lesion. Zero: no discriminator at all."""

    closeness: Weight = 100.0
    """Mean over pixels of |x - G(x)| of slices with lesion; on a canvas that is a fraction of 256 x 256 a
    smaller weight does what 100 does there."""

    fidelity: Weight = 100.0
    """The same of normal slices."""

    penalty: Weight = 10.0
    """The discriminator has slope one."""


class Optimisation(Settings, frozen=True):
    """How the objective is pursued; all of it is ours."""

    classifier_first: Annotated[int, Meta(ge=1)] = 1000
    """Batches that the classifier alone learns from, before everything else."""

    learning_rate: Rate = 2e-4
    critic_learning_rate: Rate = 2e-4
    betas: tuple[Share, Share] = (0.5, 0.9)
    """Adam's."""

    critic_steps: Annotated[int, Meta(ge=1)] = 1
    """Steps of the discriminator for each of G."""


class BlSettings(Settings, frozen=True, tag_field="name", tag="bl"):
    """Everything about the method."""

    annotator: ClassVar[None] = None
    """Nobody's mask reaches it."""

    teaching: ClassVar[None] = None
    neighbours: ClassVar[float] = 0.0
    reach: ClassVar[int] = 0
    stream: ClassVar[tuple[int, ...]] = (1,)

    network: TranslatorSettings = TranslatorSettings()
    """G, the encoder-decoder: what is kept."""

    classifier: ClassifierSettings = ClassifierSettings()
    critic: CriticSettings = CriticSettings()
    objective: Objective = Objective()
    optimisation: Optimisation = Optimisation()
    heat_map: HeatMap = "absolute"
    """What is read as the score, half of |x - G(x)| in the paper's way; see `va_gan.heat_map`."""

    @property
    def stride(self) -> int:
        """Both sides of the canvas must be multiples of it."""
        return self.network.stride

    def build(self) -> BlMethod:
        """The method, with fresh weights."""
        return BlMethod(self)

    def build_network(self) -> BlNet:
        """The encoder-decoder alone, with fresh weights."""
        return BlNet(self.network)

    def read(self, network: nn.Module, images: Tensor) -> Reading:
        """Score and healthy version of slices (B, 1, H, W) in network grey."""
        healthy: Tensor = network(images)
        return Reading(heat_map(healthy - images, self.heat_map), healthy)


class BlNet(nn.Module):
    """G: the slice without what makes it diseased."""

    def __init__(self, settings: TranslatorSettings) -> None:
        super().__init__()
        self.translator = Translator(settings)

    def forward(self, image: Tensor) -> Tensor:
        """The healthy versions of a batch of images, (B, 1, H, W), in network grey, within [-1, 1].

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        drawn = torch.tanh(self.translator(image))
        return drawn if self.translator.start == "random" else (image + drawn).clip(-1, 1)


def objective(batch: Batch, normal: Tensor, lesion: Tensor, classifier: nn.Module, critic: nn.Module | None) -> Terms:
    """What G is asked for, term by term, not yet weighted.

    Args:
        batch: normal slices and slices with lesion, (B, 1, H, W) each.
        normal: G of the normal slices.
        lesion: G of the slices with lesion.
        classifier: gives the logit, (B,), of the chance that a slice has a lesion; a constant here.
        critic: rates slices, (B,); a constant here. None: nobody does.
    """
    terms = {
        "normality": F.softplus(classifier(lesion)).mean(),  # cross-entropy with the answer "no lesion"
        "closeness": (batch.lesion - lesion).abs().mean(),
        "fidelity": (batch.normal - normal).abs().mean(),
    }
    if critic is not None:
        terms["adversarial"] = -critic(lesion).mean()
    return terms


class BlMethod(AdversarialMethod):
    """Trains the classifier, then the encoder-decoder and its discriminator; each has its optimiser."""

    def __init__(self, settings: BlSettings) -> None:
        self.classification = ClassifierMethod(settings.classifier)
        super().__init__(settings.build_network(), settings.critic, settings.optimisation)
        self.settings = settings

    def setup(self, fabric: Fabric) -> None:
        """Hand modules and optimisers to Fabric, once, before the first step."""
        self.classification.setup(fabric)
        super().setup(fabric)

    def state(self) -> dict[str, Any]:
        """Encoder-decoder, discriminator, classifier and their optimisers."""
        classification = self.classification
        return super().state() | {
            "classifier": classification.network,
            "classifier_optimizer": classification.optimizer,
        }

    def step(self, batch: Batch, number: int) -> Terms:
        """Train the classifier on the batch or, once it is done, the discriminator and, in its turn, G.

        G's one forward pass serves both: the discriminator sees its healthy versions as data.
        """
        schedule, settings = self.settings.optimisation, self.settings.objective
        learning = number < schedule.classifier_first
        self.classification.network.train(learning)  # once fixed, no slice's verdict depends on the others'
        if learning:
            return self.classification.step(batch, number)
        its_turn = (number - schedule.classifier_first + 1) % schedule.critic_steps == 0
        with torch.set_grad_enabled(its_turn):
            normal, lesion = self.network(batch.images).chunk(2)
        measured: Terms = {}
        if settings.adversarial:
            measured |= self.train_critic(batch.normal, lesion, settings.penalty)
        if its_turn:
            classifier = bare(self.classification.network)  # as it is, for what wraps it expects its gradients
            critic = self.critic if settings.adversarial else None
            with frozen(classifier), frozen(self.critic):
                measured |= self.train_network(objective(batch, normal, lesion, classifier, critic), settings)
        return {name: term.detach() for name, term in measured.items()}
