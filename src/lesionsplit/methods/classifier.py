"""One slice classifier, and the two ways in which the paper's Figure 2 reads a heat map from it: CAM and Grad-CAM.

The classifier learns from image labels alone. Neither map is scaled per slice, as is usual where they
are only looked at: a score means the same in every slice.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, cast

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.losses import Terms
from lesionsplit.methods.base import Reading, bare
from lesionsplit.methods.single import SingleNetworkMethod
from lesionsplit.networks.residual import ResNet, ResNetSettings, Stage
from lesionsplit.settings import Settings


class ClassifierSettings(Settings, frozen=True):
    """How the classifier is built and trained; the same for both maps."""

    annotator: ClassVar[None] = None
    """Nobody's mask reaches it."""

    teaching: ClassVar[None] = None
    neighbours: ClassVar[float] = 0.0
    reach: ClassVar[int] = 0
    stream: ClassVar[tuple[int, ...]] = (1,)
    stride: ClassVar[int] = 1
    """Any canvas will do."""

    network: ResNetSettings = ResNetSettings()
    learning_rate: Annotated[float, Meta(gt=0)] = 5e-4
    weight_decay: Annotated[float, Meta(ge=0)] = 0.01
    warm_up: Annotated[int, Meta(ge=1)] = 50
    """Steps over which the learning rate grows to its full height."""

    def build(self) -> ClassifierMethod:
        """The method, with fresh weights."""
        return ClassifierMethod(self)

    def build_network(self) -> ResNet:
        """The network alone, with fresh weights."""
        return ResNet(self.network)


class CamSettings(ClassifierSettings, frozen=True, tag_field="name", tag="cam"):
    """Class activation map (Zhou et al. 2016)."""

    def read(self, network: nn.Module, images: Tensor) -> Reading:
        """Score of slices (B, 1, H, W) in network grey; each is given back as its own healthy version."""
        net = cast(ResNet, bare(network))
        features = net.look(images)
        chance = enlarge(class_activation(features, net.head), images).sigmoid()
        return Reading(chance, images, net.judge(features).sigmoid())


class GradCamSettings(ClassifierSettings, frozen=True, tag_field="name", tag="grad-cam"):
    """Gradient-weighted class activation map (Selvaraju et al. 2017)."""

    stage: Stage = 4
    """Which features are weighted, of the four stages; the last in the paper. There the map is that of
    `cam` without its bias and where it is positive: the head is linear in the mean over pixels."""

    def read(self, network: nn.Module, images: Tensor) -> Reading:
        """Score of slices (B, 1, H, W) in network grey; each is given back as its own healthy version."""
        net = cast(ResNet, bare(network))
        evidence, logit = gradient_activation(net, images, self.stage)
        # The mean over pixels became a sum in the gradient: times their number it is in logits, and
        # tanh(z / 2) = 2 sigmoid(z) - 1 makes no evidence 0.
        pixels = evidence.shape[-2] * evidence.shape[-1]
        return Reading(torch.tanh(enlarge(evidence, images) * pixels / 2), images, logit.sigmoid())


def class_activation(features: Tensor, head: nn.Linear) -> Tensor:
    """The linear layer at every pixel (Zhou et al. 2016, eq. 2), (B, 1, h, w), with its bias.

    Its mean over pixels is the slice's logit, since the head is linear and sees the mean of the features
    (B, C, h, w).
    """
    return F.conv2d(features, head.weight[:, :, None, None], head.bias)


def gradient_activation(network: ResNet, images: Tensor, stage: Stage) -> tuple[Tensor, Tensor]:
    """Features weighted by the logit's mean gradient, rectified (Selvaraju et al. 2017, eqs. 1 and 2).

    Args:
        network: in evaluation mode, where slices do not see each other.
        images: (B, 1, H, W).
        stage: whose features.

    Returns:
        (B, 1, h, w), not negative, and the logit, (B,).
    """
    with torch.inference_mode(False), torch.enable_grad():  # a gradient is needed even where none is trained
        features = network.look(images.clone(), stage).detach().requires_grad_()
        logit = network.judge(features, stage)
        (slope,) = torch.autograd.grad(logit.sum(), features)
    weights = slope.mean(dim=(2, 3), keepdim=True)
    return (weights * features.detach()).sum(dim=1, keepdim=True).relu(), logit.detach()


def enlarge(evidence: Tensor, images: Tensor) -> Tensor:
    """A coarse map at the resolution of the slices."""
    return F.interpolate(evidence, size=images.shape[-2:], mode="bilinear", align_corners=False)


class ClassifierMethod(SingleNetworkMethod):
    """Trains the classifier on image labels."""

    def __init__(self, settings: ClassifierSettings) -> None:
        self.settings = settings
        super().__init__(settings.build_network(), settings, weight_decay=settings.weight_decay, steepest=None)

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn which half of the batch has lesions."""
        images = batch.images.contiguous(memory_format=torch.channels_last)
        label = torch.cat([torch.zeros(len(batch.normal)), torch.ones(len(batch.lesion))]).to(images.device)
        loss = F.binary_cross_entropy_with_logits(self.network(images), label)
        self.descend(loss, number)
        return {"classification": loss.detach()}
