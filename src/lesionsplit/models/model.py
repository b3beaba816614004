"""A trained network in one file, with all that is needed to use it and to know where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from msgspec import Meta, field, json
from torch import Tensor, nn

from lesionsplit.data.kind import Channels, ImageKind, RegionName
from lesionsplit.data.normalise import Normalisation
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.domains.table import domain_of
from lesionsplit.methods.base import MethodOutput
from lesionsplit.methods.table import AnyMethod
from lesionsplit.models.card import DEFAULT, MethodCard, NamedThreshold, PredictionCard
from lesionsplit.models.weights_file import WeightsKind
from lesionsplit.settings import Settings


class ModelCard(Settings, frozen=True):
    """How to use the weights in a file, and where they come from; for its fields see `models.card.PredictionCard`."""

    format: Literal[3]
    """`models.card.FORMAT`."""

    method: AnyMethod
    placement: PlacementSettings
    normalisation: Normalisation
    threshold: Annotated[float, Meta(gt=0, le=1)]
    threshold_from: str
    trained: dict[str, str]
    region: RegionName = "lungs"
    channels: Channels = 1
    thresholds: dict[str, NamedThreshold] = field(default_factory=dict)

    @property
    def kind(self) -> ImageKind:
        """What images the network is for."""
        return ImageKind(region=self.region, channels=self.channels)

    def for_prediction(self) -> PredictionCard:
        """The part that prediction needs, which any engine understands."""
        method = MethodCard(
            name=self.method.__struct_config__.tag,  # type: ignore[arg-type]
            margin_pixels=self.method.margin_pixels,
            neighbour_weight=self.method.neighbour_weight,
            annotator=self.method.annotator,
            settings=json.decode(json.encode(self.method)),  # as it is read from a file,
        )
        return PredictionCard(
            method=method,
            placement=self.placement,
            normalisation=self.normalisation,
            threshold=self.threshold,
            threshold_from=self.threshold_from,
            trained=self.trained,
            region=self.region,
            channels=self.channels,
            thresholds=self.thresholds,
        )


WEIGHTS = WeightsKind(
    card=ModelCard,
    key="lesionsplit",
    owner="lesionsplit",
    command="train",
    default=DEFAULT,
)


class Model:
    """A trained network and its card."""

    def __init__(self, card: ModelCard, network: nn.Module) -> None:
        self.card = card
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: Path | None = None) -> Model:
        """Read a weights file, by default the one in the package; never runs code from it.

        Raises:
            WeightsError: the file is missing, not safetensors, not ours, or does not fit its own card.
        """
        card, network = WEIGHTS.read(path, lambda card: card.method.build_network(domain_of(card.kind)))
        return cls(card, network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    def save(self, path: Path) -> None:
        """Write the weights file, whole or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        WEIGHTS.write(path, self.card, self.network)

    @property
    def parameters(self) -> int:
        """Numbers in the network that were trained."""
        return sum(weight.numel() for weight in self.network.parameters())

    def infer(self, images: Tensor) -> MethodOutput:
        """Score and healthy version of slices on the canvas, (B, C, H, W), in network grey."""
        return self.card.method.infer(self.network, images, domain_of(self.card.kind))


def load_model(weights: str | Path = "default") -> Model:
    """A trained network and its card.

    Args:
        weights: ``default`` for the weights in the package, or a weights file.

    Raises:
        WeightsError: the file is missing, broken or of another kind.
    """
    return Model.load(None if str(weights) == "default" else Path(weights))
