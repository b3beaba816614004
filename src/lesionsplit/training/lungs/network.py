"""The network that finds lungs, and its weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from msgspec import Meta, field
from torch import Tensor, nn
from torch.export import Dim

from lesionsplit.atomic import atomic_file
from lesionsplit.lungs.network import DEFAULT, KEY, LungExportCard
from lesionsplit.lungs.resample import AIR, DENSE, MM, SIDE
from lesionsplit.models.card import digest
from lesionsplit.models.export import check_packages, made_with, save
from lesionsplit.models.trace import quiet
from lesionsplit.models.weights_file import WeightsKind
from lesionsplit.networks.unet import Decoder, Encoder
from lesionsplit.settings import Settings, Width


class LungCard(Settings, frozen=True):
    """The shape of the network in a weights file, and where the weights come from."""

    format: Literal[3] = 3
    """`models.card.FORMAT`."""

    channels: Annotated[tuple[Width, ...], Meta(min_length=2, max_length=6)] = (8, 16, 32, 48, 64)
    """Features at 1, 1/2, 1/4 ... of the canvas' resolution."""

    side: Annotated[int, Meta(ge=SIDE, le=SIDE)] = SIDE
    """Rows and columns of the canvas that it was trained on."""

    mm: Annotated[float, Meta(ge=MM, le=MM)] = MM
    """Millimetres of a pixel of that canvas."""

    trained: dict[str, str] = field(default_factory=dict)
    """Where the weights come from: version, data, seed, steps."""


WEIGHTS = WeightsKind(card=LungCard, key=KEY, owner="lesionsplit's lungs", command="train-lungs", default=DEFAULT)


class LungNet(nn.Module):
    """A U-Net that computes how far each pixel of the canvas is lung."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = Encoder(channels, "batch")
        self.decoder = Decoder(channels, "batch")

    def forward(self, shrunk: Tensor) -> Tensor:
        """Logits of (B, 1, SIDE, SIDE) in HU above `AIR`; the network is given air as 0 and `DENSE` as 1."""
        images = (shrunk / (DENSE - AIR)).contiguous(memory_format=torch.channels_last)
        logit: Tensor = self.decoder(self.encoder(images))
        return logit


class LungModel:
    """A trained network and its card."""

    def __init__(self, card: LungCard, network: LungNet) -> None:
        self.card = card
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: Path | None = None) -> LungModel:
        """Read a weights file, by default the one in the package; never runs code from it.

        Raises:
            WeightsError: the file is missing, not safetensors, not ours, or does not fit its own card.
        """
        return cls(*WEIGHTS.read(path, lambda card: LungNet(card.channels)))

    def save(self, path: Path) -> None:
        """Write the weights file, whole or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        WEIGHTS.write(path, self.card, self.network)

    def shares(self, shrunk: Tensor) -> Tensor:
        """How far each pixel is lung, 0 to 1, of (B, 1, SIDE, SIDE) in HU above `AIR`."""
        logit: Tensor = self.network(shrunk)
        return logit.sigmoid()


def export_lungs(weights: Path | None, path: Path) -> None:
    """Write weights as an ONNX file, whole or not at all; `lungs.network.LungNetwork` runs it.

    Args:
        weights: a weights file, by default the one in the package.
        path: the file to write.

    Raises:
        WeightsError: the weights are missing, broken or of another kind.
        SettingsError: a package is not installed.
        DataError: the file cannot be written.
    """
    model = LungModel.load(weights)
    check_packages()
    sha = digest(Path(str(DEFAULT)) if weights is None else weights)
    with quiet():
        sample = (torch.zeros(2, 1, SIDE, SIDE),)
        program = torch.export.export(_Shares(model).eval(), sample, dynamic_shapes=({0: Dim.DYNAMIC},), strict=False)
    with atomic_file(path, durable=True) as unchecked:
        save(program, ["shares"], KEY, LungExportCard(weights=sha, made_with=made_with()), unchecked)


class _Shares(nn.Module):
    """`LungModel.shares` as a module."""

    def __init__(self, model: LungModel) -> None:
        super().__init__()
        self.network = model.network

    def forward(self, shrunk: Tensor) -> Tensor:
        logit: Tensor = self.network(shrunk)
        return logit.sigmoid()
