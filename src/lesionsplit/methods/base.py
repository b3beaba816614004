"""What training and prediction know of a method, whichever it is."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Protocol

from lightning_fabric import Fabric
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.errors import SettingsError
from lesionsplit.losses import Terms
from lesionsplit.settings import Settings


class Reading(NamedTuple):
    """What a method has to say of a batch of slices, (B, 1, H, W) each."""

    score: Tensor
    """0 to 1, higher is more likely lesion; one scale for all slices, so that one threshold serves all."""

    healthy: Tensor
    """The slices without their lesions, in network grey."""

    presence: Tensor | None = None
    """(B,), how sure it is that a slice has a lesion at all, 0 to 1, of a method that says so itself; else
    the score tells."""


class Teaching(Settings, frozen=True):
    """From whom a method learns, if it has teachers, and how far they are believed."""

    teachers: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Settings of trainings, as `lesionsplit train --config` takes them, which are trained first; or weights files.
    None of them may have seen a mask."""

    seeds: Annotated[int, Meta(ge=1)] = 1
    """How many of each of those settings are trained, each with a seed of its own: of n, in a run with seed s, n s to
    n s + n - 1. The more there are, the less counts what one of them sees by chance."""

    begin_as_first: bool = True
    """Whether the student begins with the weights of the first teacher, where the two networks are alike."""

    doubt: Annotated[float, Meta(gt=0)] = 2.0
    """A teacher is half sure of a pixel whose score is this many times the teacher's stored threshold, which normal
    lung seldom reaches."""

    def __post_init__(self) -> None:
        if len(set(self.teachers)) < len(self.teachers):
            raise SettingsError("method.teaching.teachers: names a teacher twice; name each once")
        if self.seeds > 1 and all(name.endswith(".safetensors") for name in self.teachers):
            raise SettingsError(
                f"method.teaching.seeds: is {self.seeds}, and all teachers are files of weights, trained already; "
                "set it to 1"
            )


class Method(Protocol):
    """Learns where the disease is from slices that only say whether there is any."""

    network: nn.Module
    """What is kept of the method when it has learnt."""

    def setup(self, fabric: Fabric) -> None:
        """Hand modules and optimisers to Fabric, once, before the first step."""

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch, the ``number``-th from 0, and return the terms measured, detached."""

    def state(self) -> dict[str, Any]:
        """Every module and optimiser that training changes, by name, to be saved or loaded in place."""


class MethodSettings(Protocol):
    """Settings that know which method they are of."""

    @property
    def annotator(self) -> str | None:
        """Whose masks training is given; None, as of every weakly supervised method: nobody's."""

    @property
    def teaching(self) -> Teaching | None:
        """Its teachers, who are trained before it; None, as of nearly every method: it has none."""

    @property
    def reach(self) -> int:
        """Pixels of the canvas beyond the lungs that its score means something for."""

    @property
    def neighbours(self) -> float:
        """How much the score of a neighbouring slice of the same series counts, the slice's own being 1."""

    @property
    def stride(self) -> int:
        """Both sides of the canvas must be multiples of it."""

    @property
    def stream(self) -> tuple[int, ...]:
        """Sets what the method draws in a step apart from what the sampler has drawn for the same step."""

    def build(self) -> Method:
        """The method, with fresh weights."""

    def build_network(self) -> nn.Module:
        """What is kept of the method, with fresh weights."""

    def read(self, network: nn.Module, images: Tensor) -> Reading:
        """What such a network has to say of slices (B, 1, H, W) in network grey; each on its own."""


def supervision(method: MethodSettings) -> str:
    """What such a method is told of the slices that it learns from, in words."""
    if method.annotator is None:
        return "image labels only"
    return f"masks of annotator {method.annotator} of the train split: a supervised upper bound"


def bare(network: nn.Module) -> nn.Module:
    """The network without what Fabric has put around it."""
    module: nn.Module = getattr(network, "module", network)
    return module
