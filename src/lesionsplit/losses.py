"""Parts of objectives that several methods use, each a pure function or a small module."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Terms = dict[str, Tensor]
"""Terms of a loss by name, each a scalar, not yet weighted."""


def weighted_sum(terms: Terms, weights: Mapping[str, float]) -> Tensor:
    """The loss: the sum of every term times the weight of its name. A term without a weight is a KeyError."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def detached(terms: Terms) -> Terms:
    """The terms without their gradients."""
    return {name: term.detach() for name, term in terms.items()}


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (B, C, H, W) over the pixels of a mask (B, 1, H, W) of 0 and 1, a scalar; 0 for an empty mask."""
    return (values * mask).sum() / (values.shape[1] * mask.sum()).clip(min=1)


def overlap_loss(chance: Tensor, truth: Tensor) -> Tensor:
    """One minus the soft Dice of two batches (B, 1, H, W), 0 to 1, over all of their pixels; a scalar.

    One pixel is added to numerator and denominator, so that the loss of two empty batches is 0.
    """
    intersection = (chance * truth).sum()
    loss: Tensor = 1 - (2 * intersection + 1) / (chance.sum() + truth.sum() + 1)
    return loss


def edge_weight(image: Tensor) -> Tensor:
    """``(1 + |Sobel|)**2`` of (B, C, H, W), same shape: the weight of edges (authors' code).

    The Sobel gradient is scaled so that a step of height one has magnitude one.
    """
    if image.shape[1] > 1:
        return edge_weight(image.flatten(0, 1).unsqueeze(1)).view_as(image)
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=image.device) / 4
    kernels = torch.stack([across, across.T]).unsqueeze(1).to(image.dtype)
    gradient = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernels)
    magnitude = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    weight: Tensor = (1 + magnitude).square()
    return weight


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Mean squared deviation of the critic's slope from one, between ``real`` and ``fake``, both (B, C, H, W).

    The slope at an image is the gradient's norm over all pixels and channels (Gulrajani et al. 2017,
    eq. 3), which makes the penalty of a linear critic with weights w exactly (|w| - 1)**2.
    """
    mix = torch.rand(len(real), 1, 1, 1, dtype=real.dtype, device=real.device)
    between = torch.lerp(fake, real, mix).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    slope: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (slope - 1).square().mean()


class CriticLoss(nn.Module):
    """The critic and its loss (eq. 3) in one module.

    The penalty differentiates the critic inside the loss. Neither DDP nor Fabric allows that from
    outside a wrapped module, so they wrap this module instead of the critic.
    """

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, real: Tensor, fake: Tensor) -> Terms:
        """``critic``: mean D(fake) - mean D(real); ``penalty``: between each real and one random fake."""
        with torch.autocast(real.device.type, enabled=False):  # second derivatives need float32
            real, fake = real.float(), fake.float()
            partners = fake[torch.randperm(len(fake), device=fake.device)[: len(real)]]
            return {
                "critic": self.critic(fake).mean() - self.critic(real).mean(),
                "penalty": gradient_penalty(self.critic, real, partners),
            }
