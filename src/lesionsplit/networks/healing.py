"""A denoiser with a branch for what lesions add, apart from its other outputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lesionsplit.networks.denoiser import Block, Denoiser, DenoiserSettings, group_norm


class HealingDenoiser(Denoiser):
    """A `Denoiser` with one more output image, from a branch of its own.

    The branch, one block, reads the denoiser's features and the slice. No gradient flows from it into the rest of the
    network, so training the branch changes no other output.
    """

    def __init__(self, settings: DenoiserSettings, outputs: int) -> None:
        """``outputs``: number of output images, without that of the branch."""
        super().__init__(settings, outputs)
        width, patches = settings.channels[0], self.patch**2
        self.branch = Block(width + 2 * patches, width, settings.embedding)
        self.branch_norm = group_norm(width)
        self.branch_head = nn.Conv2d(width, patches, kernel_size=3, padding=1)
        nn.init.zeros_(self.branch_head.weight)
        nn.init.zeros_(self.branch_head.bias)  # type: ignore[arg-type]  # our head has one

    def forward(self, noisy: Tensor, lungs: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        """As for `Denoiser`, (B, outputs + 1, H, W), the image of the branch last."""
        features, patches, embedded = self._features(noisy, lungs, level, condition)
        seen = torch.cat([features.detach(), patches], dim=1)
        branch = self.branch_head(F.silu(self.branch_norm(self.branch(seen, embedded.detach()))))
        return torch.cat([self._images(features), F.pixel_shuffle(branch, self.patch)], dim=1)

    def branch_parameters(self) -> list[nn.Parameter]:
        """Those that belong to the branch alone."""
        return [*self.branch.parameters(), *self.branch_norm.parameters(), *self.branch_head.parameters()]
