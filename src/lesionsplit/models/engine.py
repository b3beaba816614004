"""The interface of engines: what runs a network in prediction."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from lesionsplit.errors import DataError, WeightsError
from lesionsplit.images import Float
from lesionsplit.models.card import PredictionCard


class EngineOutput(NamedTuple):
    """What an engine computes for a batch of canvases."""

    score: Float
    """(B, H, W), 0 to 1."""

    healthy: Float
    """(B, H, W), or (B, 3, H, W) in colour, network grey."""

    presence: Float | None
    """(B,), 0 to 1: the probability that a slice has a lesion, from methods that compute it; else None."""

    def checked(self, canvases: Float) -> EngineOutput:
        """The same output of these canvases, if all of it is finite: NaN reaches no threshold and would be no lesion.

        Raises:
            WeightsError, DataError: it is not.
        """
        if all(part is None or np.isfinite(part).all() for part in self):
            return self
        if not np.isfinite(canvases).all():
            raise DataError("a grey value of a slice is not finite; allowed: finite numbers")
        raise WeightsError("the network's output is not finite: its weights are damaged; get or train them again")


def squeezed(images: Float) -> Float:
    """(B, 1, H, W) as (B, H, W); in colour as they are."""
    return images[:, 0] if images.shape[1] == 1 else images


class Engine(Protocol):
    """Computes what `Model.infer` computes, on arrays."""

    @property
    def card(self) -> PredictionCard:
        """Card of the weights that it runs."""

    @property
    def parameters(self) -> int:
        """Numbers in the network that were trained."""

    @property
    def name(self) -> str:
        """Package, version and device or precision, for people."""

    def infer(self, canvases: Float) -> EngineOutput:
        """Run the network on canvases, (B, C, H, W), network grey."""
