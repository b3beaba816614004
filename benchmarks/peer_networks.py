"""Networks of other tools, written down from their papers, with random weights: fair for time and memory only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import textbook

Block = Callable[[int, int, int], nn.Module]
"""Two convolutions, from so many features to so many, with a stride."""


class UNet(nn.Module):
    """An encoder, skips, and a decoder; what a level is made of is given."""

    def __init__(
        self, features: Sequence[int], outputs: int, block: Block, up: Callable[[int, int], nn.Module]
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            block(above, here, 1 if above == 1 else 2) for above, here in pairwise([1, *features])
        )
        pairs = list(pairwise(reversed(features)))
        self.ups = nn.ModuleList(up(coarse, fine) for coarse, fine in pairs)
        self.decoder = nn.ModuleList(block(2 * fine, fine, 1) for _, fine in pairs)
        self.last = nn.Conv2d(features[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (B, outputs, H, W)."""
        skips = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
        for up, level, skip in zip(self.ups, self.decoder, skips[-2::-1], strict=True):
            x = level(torch.cat([skip, up(x)], dim=1))
        return self.last(x)


def lungmask_network() -> UNet:
    """R231 (Hofmanninger et al. 2020): 5 levels of 64 to 1024 features, batch norm, 256 x 256 pixels; two lungs."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if stride == 2 else []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(outputs)]
        return nn.Sequential(*layers)

    def up(coarse: int, fine: int) -> nn.Module:
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(coarse, fine, 1))

    return UNet([64, 128, 256, 512, 1024], 3, block, up)


def nnunet_network() -> UNet:
    """A plain 2-D nnU-Net (Isensee et al. 2021) as planned for patches of 512 x 512: 8 levels of 32 to 512 features."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        layers: list[nn.Module] = []
        for channels, by in ((inputs, stride), (outputs, 1)):
            layers += [
                nn.Conv2d(channels, outputs, 3, by, 1),
                nn.InstanceNorm2d(outputs, affine=True),
                nn.LeakyReLU(0.01),
            ]
        return nn.Sequential(*layers)

    return UNet(
        [32, 64, 128, 256, 512, 512, 512, 512], 2, block, lambda coarse, fine: nn.ConvTranspose2d(coarse, fine, 2, 2)
    )


def with_mirrors(network: nn.Module, images: Tensor) -> Tensor:
    """The mean over the four mirror images, as nnU-Net predicts."""
    total = network(images)
    for axes in ((2,), (3,), (2, 3)):
        total = total + network(images.flip(axes)).flip(axes)
    return total / 4


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.convs(x) + self.skip(x))


class Padim(nn.Module):
    """PaDiM (Defard et al. 2020): a Gaussian at each place, of 100 features of three levels of a ResNet-18."""

    def __init__(self, kept: int = 100) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.levels = nn.ModuleList(
            nn.Sequential(_Residual(inputs, outputs, stride), _Residual(outputs, outputs, 1))
            for inputs, outputs, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2))
        )
        self.register_buffer("chosen", torch.randperm(64 + 128 + 256)[:kept])

    def features(self, images: Tensor) -> Tensor:
        """(B, kept, H / 4, W / 4) of grey slices (B, 1, H, W)."""
        x, found = self.stem(images.expand(-1, 3, -1, -1)), []
        for level in self.levels:
            x = level(x)
            found.append(x)
        fine = found[0].shape[2:]
        return torch.cat([F.interpolate(one, fine) for one in found], dim=1)[:, self.chosen]

    def fit(self, features: Tensor) -> None:
        """Mean and inverse covariance at each place, from the features of all normal slices."""
        places = features.flatten(2).permute(2, 0, 1)  # (places, N, kept)
        self.mean = places.mean(dim=1, keepdim=True)
        apart = places - self.mean
        covariance = apart.mT @ apart / (len(features) - 1) + 0.01 * torch.eye(places.shape[2])
        self.inverse = torch.linalg.inv(covariance)

    def score(self, images: Tensor) -> Tensor:
        """Mahalanobis distance of each pixel, (B, 1, H, W), smoothed."""
        features = self.features(images)
        apart = features.flatten(2).permute(2, 0, 1) - self.mean
        squared = ((apart @ self.inverse) * apart).sum(dim=2).T
        distance = squared.clip(min=0).sqrt().view(len(images), 1, *features.shape[2:])
        return _smooth(F.interpolate(distance, images.shape[2:], mode="bilinear"), sigma=4.0)


def _smooth(images: Tensor, sigma: float) -> Tensor:
    reach = int(4 * sigma)
    weights = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).view(1, 1, -1, 1)
    for kernel in (weights, weights.mT):
        padded = F.pad(images, [size // 2 for size in (kernel.shape[3], kernel.shape[3], *[kernel.shape[2]] * 2)])
        images = F.conv2d(padded, kernel)
    return images


class AuthorsNetwork(nn.Module):
    """The authors' published code: one decoder, G1 and G2 differ in the last convolution; full width."""

    def __init__(self, channels: Sequence[int] = (64, 128, 256, 512, 1024)) -> None:
        super().__init__()
        self.encoder, self.decoder = textbook.Encoder(channels), textbook.Decoder(channels)
        self.healthy, self.lesion = self.decoder.last, nn.Conv2d(channels[0], 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Healthy part and lesion."""
        features = self.decoder.rise(self.encoder(x))
        return torch.tanh(self.healthy(features)), torch.tanh(self.lesion(features))


class AuthorsCritic(textbook.Critic):
    """With the batch norm of the authors' code."""

    def __init__(self, channels: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__(channels)
        for level in [*self.downs, *self.scales]:
            level.insert(1, nn.BatchNorm2d(level[0].out_channels))


def edges(images: Tensor) -> Tensor:
    """The authors' weight of each pixel, (1 + Sobel)^2."""
    kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]).view(1, 1, 3, 3)
    slopes = [F.conv2d(images, one, padding=1) for one in (kernel, kernel.mT)]
    return (1 + (slopes[0] ** 2 + slopes[1] ** 2 + 1e-12).sqrt()) ** 2


class AuthorsTrainer(textbook.Trainer):
    """The step of the authors' code: the critic sees healthy versions of slices with lesion, edges weigh more."""

    def step(self, normal: Tensor, lesion: Tensor) -> float:
        """One step of the critic and one of the network on slices (B, 1, H, W) of each label; the network's loss."""
        with torch.no_grad():
            fake, _ = self.network(lesion)
        mix = torch.rand(len(normal), 1, 1, 1)
        between = (mix * normal + (1 - mix) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        loss = self.critic(fake).mean() - self.critic(normal).mean() + textbook.PENALTY * penalty
        self.critic_adam.zero_grad()
        loss.backward()
        self.critic_adam.step()

        images = torch.cat([normal, lesion])
        healthy, drawn = self.network(images)
        weights = edges(images)
        rebuilt = (weights * (images - healthy - drawn).abs()).mean()
        kept = (weights * (images - healthy).abs())[: len(normal)].mean()
        loss = 200 * (rebuilt + kept) - 0.01 * self.critic(healthy[len(normal) :]).mean()
        self.network_adam.zero_grad()
        loss.backward()
        self.network_adam.step()
        return loss.item()
