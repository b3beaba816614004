"""A slice classifier and its two heat maps in the paper's Figure 2: CAM and Grad-CAM.

The classifier learns from image labels alone. Neither map is scaled per slice, as is usual for display, so that
a score means the same in every slice.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.domains.base import Domain
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.losses import Terms
from lesionsplit.methods.base import MethodOutput, MethodSettings, bare
from lesionsplit.methods.optimisation import SingleNetworkMethod
from lesionsplit.networks.residual import ResNet, ResNetSettings, Stage
from lesionsplit.settings import Count, NonNegative, Positive


class ClassifierSettings(MethodSettings, frozen=True):
    """Network and training of the classifier; the same for both maps."""

    network: ResNetSettings = ResNetSettings()
    learning_rate: Positive = 5e-4
    weight_decay: NonNegative = 0.01
    warmup_steps: Count = 50
    """Steps over which the learning rate rises to `learning_rate`."""

    def build(self, domain: Domain = LUNGS) -> ClassifierMethod:
        """The method, with fresh weights."""
        return ClassifierMethod(self, domain)

    def build_network(self, domain: Domain = LUNGS) -> ResNet:
        """The network alone, with fresh weights."""
        return ResNet(self.network, domain.channels)


class CamSettings(ClassifierSettings, frozen=True, tag_field="name", tag="cam"):
    """Class activation map (Zhou et al. 2016)."""

    def infer(self, network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> MethodOutput:  # noqa: ARG002
        """Score of slices (B, 1, H, W) in network grey; the healthy version is the slice itself."""
        net = cast(ResNet, bare(network))
        features = net.features(images)
        score = enlarge(class_activation(features, net.head), images).sigmoid()
        return MethodOutput(score, images, net.classify(features).sigmoid())


class GradCamSettings(ClassifierSettings, frozen=True, tag_field="name", tag="grad-cam"):
    """Gradient-weighted class activation map (Selvaraju et al. 2017)."""

    stage: Stage = 4
    """The stage whose features are weighted; the last in the paper. With the last, the map is the positive part of
    `cam` without its bias, since the head is linear in the mean over pixels."""

    def infer(self, network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> MethodOutput:  # noqa: ARG002
        """Score of slices (B, 1, H, W) in network grey; the healthy version is the slice itself."""
        net = cast(ResNet, bare(network))
        evidence, logit = gradient_activation(net, images, self.stage)
        # The gradient of the mean over pixels has a factor 1 / pixels; without it the evidence is in logits.
        # tanh(z / 2) = 2 sigmoid(z) - 1 maps no evidence to 0.
        pixels = evidence.shape[-2] * evidence.shape[-1]
        return MethodOutput(torch.tanh(enlarge(evidence, images) * pixels / 2), images, logit.sigmoid())


def class_activation(features: Tensor, head: nn.Linear) -> Tensor:
    """The linear layer at every pixel (Zhou et al. 2016, eq. 2), (B, 1, h, w), with its bias.

    Its mean over pixels is the slice's logit, since the head is linear and its input is the mean of the features,
    (B, C, h, w), over pixels.
    """
    return F.conv2d(features, head.weight[:, :, None, None], head.bias)


def gradient_activation(network: ResNet, images: Tensor, stage: Stage) -> tuple[Tensor, Tensor]:
    """Features weighted by the logit's mean gradient, rectified (Selvaraju et al. 2017, eqs. 1 and 2).

    Args:
        network: in evaluation mode, in which slices do not affect each other.
        images: (B, 1, H, W).
        stage: the stage of the features.

    Returns:
        (B, 1, h, w), not negative, and the logit, (B,).
    """
    with torch.inference_mode(False), torch.enable_grad():  # needed in prediction, too
        features = network.features(images.clone(), stage).detach().requires_grad_()
        logit = network.classify(features, stage)
        (slope,) = torch.autograd.grad(logit.sum(), features)
    weights = slope.mean(dim=(2, 3), keepdim=True)
    return (weights * features.detach()).sum(dim=1, keepdim=True).relu(), logit.detach()


def enlarge(evidence: Tensor, images: Tensor) -> Tensor:
    """A coarse map resampled to the resolution of the slices."""
    return F.interpolate(evidence, size=images.shape[-2:], mode="bilinear", align_corners=False)


class ClassifierMethod(SingleNetworkMethod):
    """Trains the classifier on image labels."""

    def __init__(self, settings: ClassifierSettings, domain: Domain = LUNGS) -> None:
        self.settings = settings
        super().__init__(
            settings.build_network(domain), settings, weight_decay=settings.weight_decay, max_grad_norm=None
        )

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch: cross-entropy with the image labels."""
        images = batch.images.contiguous(memory_format=torch.channels_last)
        label = torch.cat([torch.zeros(len(batch.normal)), torch.ones(len(batch.lesion))]).to(images.device)
        loss = F.binary_cross_entropy_with_logits(self.network(images), label)
        return self.learn({"classification": loss}, {"classification": 1.0}, number)
