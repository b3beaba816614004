"""The paper as one writes it down in plain PyTorch, the yardstick of every benchmark; nothing in it is ours.

Eager, fp32, tensors in the default layout, whole frames, PNG files decoded and resized in the loop, the U-Net with two
full decoders run once for the critic and once more for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import Dataset


class DoubleConv(nn.Sequential):
    """Two convolutions with batch norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers)


class Encoder(nn.Module):
    """The way down."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(DoubleConv(*pair) for pair in pairwise([1, *channels]))
        self.downs = nn.ModuleList(nn.Conv2d(width, width, 2, stride=2) for width in channels[:-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features, from fine to coarse."""
        features = []
        for number, conv in enumerate(self.convs):
            x = conv(self.downs[number - 1](x) if number else x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """The way up."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        pairs = list(pairwise(reversed(channels)))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in pairs)
        self.convs = nn.ModuleList(DoubleConv(2 * fine, fine) for _, fine in pairs)
        self.last = nn.Conv2d(channels[0], 1, 1)

    def rise(self, features: list[Tensor]) -> Tensor:
        """Features of full resolution."""
        x = features[-1]
        for up, conv, skip in zip(self.ups, self.convs, features[-2::-1], strict=True):
            x = conv(torch.cat([skip, up(x)], dim=1))
        return x

    def forward(self, features: list[Tensor]) -> Tensor:
        """An image."""
        return torch.tanh(self.last(self.rise(features)))


class Network(nn.Module):
    """Figure 1: E, G1 and G2."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.encoder = Encoder(channels)
        self.healthy, self.lesion = Decoder(channels), Decoder(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Healthy part and lesion."""
        features = self.encoder(x)
        return self.healthy(features), self.lesion(features)


class Critic(nn.Module):
    """Seven convolutions, the last three scales pooled globally."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, channels[0], 4, 2, 1), nn.LeakyReLU(0.2))
        self.downs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(fine, coarse, 4, 2, 1), nn.LeakyReLU(0.2)) for fine, coarse in pairwise(channels)
        )
        self.scales = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.LeakyReLU(0.2)) for width in channels[1:]
        )
        self.last = nn.Linear(sum(channels[1:]), 1)

    def forward(self, x: Tensor) -> Tensor:
        """One number a slice."""
        x, pooled = self.first(x), []
        for down, scale in zip(self.downs, self.scales, strict=True):
            x = down(x)
            pooled.append(scale(x).mean(dim=(2, 3)))
        return self.last(torch.cat(pooled, dim=1))[:, 0]


ADVERSARIAL, RECONSTRUCTION, FIDELITY, PENALTY = 0.01, 100.0, 100.0, 10.0
"""alpha 1 to 3 and lambda: the weights of section 3.1."""


class Trainer:
    """Network, critic and their optimisers."""

    def __init__(self, network: Network, critic: Critic, rate: float = 2e-4) -> None:
        self.network, self.critic = network, critic
        self.network_adam, self.critic_adam = Adam(network.parameters(), rate), Adam(critic.parameters(), rate)

    def step(self, normal: Tensor, lesion: Tensor) -> float:
        """One step of the critic and one of the network on slices (B, 1, H, W) of each label; the network's loss."""
        images = torch.cat([normal, lesion])
        with torch.no_grad():
            fake, _ = self.network(images)
        partners = fake[torch.randperm(len(fake), device=fake.device)[: len(normal)]]
        mix = torch.rand(len(normal), 1, 1, 1, device=fake.device)
        between = (mix * normal + (1 - mix) * partners).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        loss = self.critic(fake).mean() - self.critic(normal).mean() + PENALTY * penalty
        self.critic_adam.zero_grad()
        loss.backward()
        self.critic_adam.step()

        healthy, drawn = self.network(images)
        loss = (
            RECONSTRUCTION * (images - healthy - drawn).abs().mean()
            + FIDELITY * (normal - healthy[: len(normal)]).abs().mean()
            - ADVERSARIAL * self.critic(healthy).mean()
        )
        self.network_adam.zero_grad()
        loss.backward()
        self.network_adam.step()
        return loss.item()


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Normal slices and slices with lesion, each decoded and resized whenever it is asked for."""

    def __init__(self, normal: list[Path], lesion: list[Path], size: int, mean: float, std: float) -> None:
        self.normal, self.lesion = normal, lesion
        self.size, self.mean, self.std = size, mean, std

    def __len__(self) -> int:
        return len(self.normal)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """(1, size, size) of each label, normalised."""
        return self.read(self.normal[number]), self.read(self.lesion[number % len(self.lesion)])

    def read(self, path: Path) -> Tensor:
        """One slice."""
        image = Image.open(path).convert("L").resize((self.size, self.size), Image.Resampling.BILINEAR)
        grey = torch.from_numpy(np.array(image, dtype=np.float32) / 255)
        return ((grey - self.mean) / (3 * self.std)).clip(-1, 1)[None]


def same_weights(network: nn.Module, other: nn.Module) -> None:
    """Give a network the weights of another one that is built in the same order."""
    own, theirs = network.state_dict(), other.state_dict()
    network.load_state_dict(dict(zip(own, theirs.values(), strict=True)))


def batches(slices: Sequence[Tensor], size: int) -> Iterable[Tensor]:
    """Tensors (1, H, W) as batches (B, 1, H, W)."""
    return (torch.stack(list(slices[at : at + size])) for at in range(0, len(slices), size))
