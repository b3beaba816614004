"""ONNX Runtime as an engine: what prediction uses unless told otherwise."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from lesionsplit.errors import WeightsError
from lesionsplit.images import Float
from lesionsplit.models.card import PredictionCard, parse_card
from lesionsplit.models.engine import EngineOutput, squeezed
from lesionsplit.models.onnx_file import INPUT, open_onnx
from lesionsplit.settings import Count, Settings

KEY = "lesionsplit"
"""Key of the card in the file's metadata."""


class ExportCard(Settings, frozen=True):
    """How to use an exported file, and where it comes from."""

    card: PredictionCard

    weights: str
    """SHA-256 of the weights file."""

    parameters: Count
    """Numbers in the network that were trained."""

    made_with: dict[str, str]
    """Versions of the packages that wrote the file."""

    mirror_left_out: bool = False
    """Whether the file predicts without the average over mirror images that the weights have."""


class OnnxEngine:
    """Runs an exported file, with `cores.threads` threads on the CPU.

    Raises:
        WeightsError: the file is missing, broken or not ours.
        SettingsError: the device is not available.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        self._session, text = open_onnx(path, KEY, device)
        self.export_card = parse_card(ExportCard, text, path)
        shapes = [one.shape[1:] for one in self._session.get_inputs()]
        if shapes != [[self.card.channels, *self.card.placement.canvas]]:
            raise WeightsError(f"{path}: its network takes {shapes}, not the canvas of its card; export it again")
        provider = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        self.name = f"onnxruntime {version('onnxruntime')} on {provider.lower()}"

    @property
    def card(self) -> PredictionCard:
        """Card of the weights that were exported."""
        return self.export_card.card

    @property
    def parameters(self) -> int:
        """Numbers in the network that were trained."""
        return self.export_card.parameters

    def infer(self, canvases: Float) -> EngineOutput:
        """Run the network on canvases, (B, C, H, W), network grey."""
        score, healthy, *presence = self._session.run(None, {INPUT: canvases})
        return EngineOutput(score[:, 0], squeezed(healthy), presence[0] if presence else None).checked(canvases)
