"""BL: classifier and discriminator train an encoder-decoder to remove the disease from a slice.

Zhang et al., "Biomarker Localization by Combining CNN Classifier and Generative Adversarial Network",
MICCAI 2019 (doi 10.1007/978-3-030-32239-7_24). There is no public code. From the paper's abstract:

* a CNN classifier and a GAN are combined; classifier and discriminator both help an encoder-decoder G to
  remove the biomarkers of abnormal images;
* the biomarkers are the difference between x and G(x);
* training uses image labels only.

The rest is our interpretation, in its simplest form:

* The classifier C is the one of `cam` and `grad-cam`. It is trained first and then fixed, in evaluation mode.
* The objective of G has four terms, with our weights. Slices with lesion become slices that C classifies as
  normal (cross-entropy), that the discriminator D rates as normal, and that stay near the input (L1); normal
  slices do not change (L1).
* D is the critic of the other methods, with the Wasserstein loss and its gradient penalty. The paper's own
  form is not public; its first reference is the Wasserstein GAN of Arjovsky et al.
* G is a U-Net. Without its skips from encoder to decoder, fine vessels would be lost and appear in the
  difference.

To change a term of the loss, change `objective`; to change its weight, change `Objective`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from msgspec.structs import replace
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.domains.base import Domain
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.losses import Terms
from lesionsplit.methods.adversarial import AdversarialMethod, frozen
from lesionsplit.methods.base import MethodOutput, MethodSettings, bare, scaled_steps
from lesionsplit.methods.classifier import ClassifierMethod, ClassifierSettings
from lesionsplit.methods.va_gan import HeatMap, heat_map
from lesionsplit.networks.critic import Critic, CriticSettings
from lesionsplit.networks.translator import TranslatorSettings, build_translator
from lesionsplit.settings import BelowOne, Count, NonNegative, Positive, Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Objective(Settings, frozen=True):
    """Weights of the terms of G's loss; zero removes a term."""

    normality: NonNegative = 1.0
    """On slices with lesion: the classifier's cross-entropy between G(x) and the label normal."""

    adversarial: NonNegative = 1.0
    """On slices with lesion: minus the discriminator's rating of G(x). Zero: no discriminator."""

    closeness: NonNegative = 100.0
    """On slices with lesion: mean over pixels of |x - G(x)|. On a canvas smaller than 256 x 256 a smaller weight
    has the same effect."""

    fidelity: NonNegative = 100.0
    """On normal slices: mean over pixels of |x - G(x)|."""

    penalty: NonNegative = 10.0
    """Gradient penalty of the discriminator."""


class Optimisation(Settings, frozen=True):
    """Optimisers and schedule; the paper does not give them."""

    classifier_warmup_steps: Count = 1000
    """Batches at the start that train the classifier alone."""

    learning_rate: Positive = 2e-4
    critic_learning_rate: Positive = 2e-4
    betas: tuple[BelowOne, BelowOne] = (0.5, 0.9)
    """Of Adam."""

    critic_steps: Count = 1
    """Steps of the discriminator for each of G."""


class BlSettings(MethodSettings, frozen=True, tag_field="name", tag="bl"):
    """All settings of the method."""

    network: TranslatorSettings = TranslatorSettings()
    """G, the encoder-decoder."""

    classifier: ClassifierSettings = ClassifierSettings()
    critic: CriticSettings = CriticSettings()
    objective: Objective = Objective()
    optimisation: Optimisation = Optimisation()
    heat_map: HeatMap = "absolute"
    """How the score is computed, half of |x - G(x)| in the paper; see `va_gan.heat_map`."""

    def scaled(self, factor: float) -> BlSettings:
        """With the classifier trained for the same share of the training."""
        steps = scaled_steps(self.optimisation.classifier_warmup_steps, factor)
        return replace(self, optimisation=replace(self.optimisation, classifier_warmup_steps=steps))

    def build(self, domain: Domain = LUNGS) -> BlMethod:
        """The method, with fresh weights."""
        return BlMethod(self, domain)

    def build_network(self, domain: Domain = LUNGS) -> BlNet:
        """The encoder-decoder alone, with fresh weights."""
        return BlNet(self.network, domain.channels)

    def infer(self, network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> MethodOutput:
        """Score and healthy version of slices (B, 1, H, W) in network grey."""
        healthy: Tensor = network(images)
        return MethodOutput(heat_map(healthy - images, self.heat_map, domain), healthy)


class BlNet(nn.Module):
    """G: from a slice to the slice without its disease."""

    def __init__(self, settings: TranslatorSettings, channels: int = 1) -> None:
        super().__init__()
        self.translator = build_translator(settings, channels)
        self.start = settings.start

    def forward(self, image: Tensor) -> Tensor:
        """The healthy versions of a batch of images, (B, 1, H, W), in network grey, within [-1, 1].

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        output = torch.tanh(self.translator(image))
        return output if self.start == "random" else (image + output).clip(-1, 1)


def objective(batch: Batch, normal: Tensor, lesion: Tensor, classifier: nn.Module, critic: nn.Module | None) -> Terms:
    """The terms of G's loss, not yet weighted.

    Args:
        batch: normal slices and slices with lesion, (B, 1, H, W) each.
        normal: G of the normal slices.
        lesion: G of the slices with lesion.
        classifier: computes the logit, (B,), of the probability that a slice has a lesion; not trained here.
        critic: rates slices, (B,); not trained here. None: without the adversarial term.
    """
    terms = {
        "normality": F.softplus(classifier(lesion)).mean(),  # cross-entropy with the label "normal"
        "closeness": (batch.lesion - lesion).abs().mean(),
        "fidelity": (batch.normal - normal).abs().mean(),
    }
    if critic is not None:
        terms["adversarial"] = -critic(lesion).mean()
    return terms


class BlMethod(AdversarialMethod):
    """Trains the classifier, then encoder-decoder and discriminator; each has its optimiser."""

    def __init__(self, settings: BlSettings, domain: Domain = LUNGS) -> None:
        self.classification = ClassifierMethod(settings.classifier, domain)
        network = settings.build_network(domain)  # before the critic: a seed means these weights
        super().__init__(network, Critic(settings.critic, domain.channels), settings.optimisation)
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
        """Train the classifier on the batch; after its warm-up the discriminator and, every `critic_steps`, G.

        Both use the same forward pass of G.
        """
        schedule, settings = self.settings.optimisation, self.settings.objective
        learning = number < schedule.classifier_warmup_steps
        self.classification.network.train(learning)  # once fixed, slices do not affect each other
        if learning:
            return self.classification.step(batch, number)
        trains_network = (number - schedule.classifier_warmup_steps + 1) % schedule.critic_steps == 0
        with torch.set_grad_enabled(trains_network):
            normal, lesion = self.network(batch.images).chunk(2)
        measured: Terms = {}
        if settings.adversarial:
            measured |= self.train_critic(batch.normal, lesion, settings.penalty)
        if trains_network:
            classifier = bare(self.classification.network)  # Fabric's wrapper would expect gradients
            critic = self.critic if settings.adversarial else None
            with frozen(classifier), frozen(self.critic):
                measured |= self.train_network(objective(batch, normal, lesion, classifier, critic), settings)
        return measured
