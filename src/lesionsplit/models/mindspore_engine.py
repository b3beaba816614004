"""MindSpore as an engine, for the methods that have a form in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lesionsplit.errors import WeightsError
from lesionsplit.images import Float
from lesionsplit.mindspore.install import choose_device, require_form, require_mindspore, use_threads_of_torch
from lesionsplit.models.engine import EngineOutput
from lesionsplit.models.model import Model

if TYPE_CHECKING:
    from mindspore import Tensor


class MindSporeEngine:
    """Runs a model as a compiled graph.

    Raises:
        SettingsError: MindSpore is not installed, has no form of the method, or does not run on the device.
        WeightsError: the canvas of the card does not fit the network.
    """

    def __init__(self, model: Model, device: str = "auto") -> None:
        settings = require_form(model.card.method)
        require_mindspore()
        self.device = choose_device(device)
        use_threads_of_torch()
        import mindspore

        from lesionsplit.mindspore.methods.decomposition import heat_map
        from lesionsplit.mindspore.networks.decomposition import DecompositionNet
        from lesionsplit.mindspore.tensors import load

        self.card = model.card.for_prediction()
        self.parameters = model.parameters
        self.name = f"mindspore {mindspore.__version__} on {self.device}"
        stride = settings.network.stride
        if any(side % stride for side in self.card.placement.canvas):
            raise WeightsError(f"placement: is {self.card.placement.canvas}; both sides must be multiples of {stride}")
        network = DecompositionNet.build(settings.network)
        load(network.get_parameters(), model.network.state_dict())
        kind = settings.heat_map

        def infer(images: Tensor) -> tuple[Tensor, Tensor]:
            parts = network(images)
            return heat_map(images, parts, kind), parts[0]

        self._infer = mindspore.jit(infer, dynamic=1)  # a last batch is smaller
        self._tensor = mindspore.Tensor

    def infer(self, canvases: Float) -> EngineOutput:
        """Run the network on canvases, (B, 1, H, W), network grey."""
        score, healthy = (part.asnumpy()[:, 0] for part in self._infer(self._tensor(canvases)))
        return EngineOutput(score, healthy, None).checked(canvases)
