"""The interface that every method offers to training and prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.domains.base import Domain
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.errors import SettingsError
from lesionsplit.losses import Terms
from lesionsplit.settings import Count, Positive, Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class MethodOutput(NamedTuple):
    """The result of a method on a batch of slices, (B, C, H, W)."""

    score: Tensor
    """(B, 1, H, W), 0 to 1, higher is more likely lesion; one scale for all slices, so that one threshold serves all
    of them."""

    healthy: Tensor
    """(B, C, H, W), the slices without their lesions, in network grey."""

    presence: Tensor | None = None
    """(B,), 0 to 1, the probability that a slice has a lesion at all, from a method that predicts it; otherwise the
    presence is derived from the score."""


class Distillation(Settings, frozen=True):
    """The teachers of a method, and how their scores become targets."""

    teachers: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Configs, as for `lesionsplit train --config`, that are trained first; or weights files. No teacher may be
    trained on masks."""

    seeds: Count = 1
    """How many runs of each of those configs are trained: with n, a run of seed s has teachers of seeds n s to
    n s + n - 1. The mean over more teachers is less noisy."""

    init_from_teacher: bool = True
    """Whether the student starts from the weights of the first teacher, where the two networks are alike."""

    half_confidence_ratio: Positive = 2.0
    """A teacher's confidence in a pixel is one half where its score is this many times the teacher's stored threshold,
    which normal lung seldom reaches."""

    teacher_steps_factor: Positive = 1.0
    """Steps of each teacher's training and of its stages, as a multiple of those of its config."""

    def __post_init__(self) -> None:
        if len(set(self.teachers)) < len(self.teachers):
            raise SettingsError("method.distillation.teachers: a teacher is listed twice; list each once")
        if self.seeds > 1 and all(name.endswith(".safetensors") for name in self.teachers):
            raise SettingsError(
                f"method.distillation.seeds: is {self.seeds}, but all teachers are weights files, which are trained "
                "already; set it to 1"
            )


class Method(Protocol):
    """Learns to find lesions; a weakly supervised one learns from image labels alone."""

    network: nn.Module
    """The part of the method that prediction needs."""

    def setup(self, fabric: Fabric) -> None:
        """Hand modules and optimisers to Fabric, once, before the first step."""

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch, the ``number``-th from 0, and return the terms of the loss, detached."""

    def state(self) -> dict[str, Any]:
        """Every module and optimiser that training changes, by name, to be saved or loaded in place."""


class NetworkSettings(Protocol):
    """Common to the settings of all networks."""

    @property
    def stride(self) -> int:
        """Both sides of the canvas must be multiples of it."""


class MethodSettings(Settings, frozen=True):
    """Settings of a method. A method declares `network`, `build`, `build_network` and `infer`, and what differs."""

    @property
    def annotator(self) -> str | None:
        """The annotator whose masks are used in training; None for every weakly supervised method."""
        return None

    @property
    def distillation(self) -> Distillation | None:
        """The teachers, which are trained first; None for a method without teachers."""
        return None

    @property
    def preparation_steps(self) -> int:
        """First steps of a training in which the method learns nothing that its score needs."""
        return 0

    @property
    def margin_pixels(self) -> int:
        """Width of the margin around the lungs, in pixels of the canvas, in which the score is meaningful."""
        return 0

    @property
    def neighbour_weight(self) -> float:
        """Weight of the score of a neighbouring slice of the same series, relative to the slice's own."""
        return 0.0

    @property
    def mirror_average(self) -> bool:
        """Whether the outputs for a slice and for its mirror image are averaged, which takes twice as long."""
        return False

    @property
    def forward_passes(self) -> int:
        """How often the network is applied for the prediction of a slice."""
        return 2 if self.mirror_average else 1

    @property
    def random_stream(self) -> tuple[int, ...]:
        """Added to the seed of a step, so that the method's random numbers differ from the sampler's."""
        return (1,)

    @property
    def network(self) -> NetworkSettings:
        """Width and depth of the network."""
        raise NotImplementedError

    @property
    def learns_from_normals(self) -> bool:
        """Whether the method can be trained on normal slices alone."""
        return False

    def scaled(self, factor: float) -> MethodSettings:  # noqa: ARG002
        """The settings for a training of ``factor`` times as many steps: its stages are as much longer."""
        return self

    def build(self, domain: Domain = LUNGS) -> Method:
        """The method, with fresh weights."""
        raise NotImplementedError

    def build_network(self, domain: Domain = LUNGS) -> nn.Module:
        """The network alone, with fresh weights."""
        raise NotImplementedError

    def infer(self, network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> MethodOutput:
        """Score and healthy version of slices (B, C, H, W) in network grey; no slice affects another."""
        raise NotImplementedError


def scaled_steps(steps: int, factor: float) -> int:
    """A number of steps times a factor, at least 1; 0 stays 0."""
    return max(1, round(steps * factor)) if steps else 0


def mirror_mean(predict: Callable[..., Sequence[Tensor]], images: Sequence[Tensor], average: bool) -> list[Tensor]:
    """Outputs for images; or means of these and the outputs for the mirror images, mirrored back.

    Args:
        predict: from images to outputs.
        images: (B, C, H, W) each, what ``predict`` gets.
        average: whether to predict the mirror images, too.

    Returns:
        The outputs, (B, C, H, W) each.
    """
    direct = predict(*images)
    if not average:
        return list(direct)
    mirrored = predict(*(one.flip(3) for one in images))
    return [(one + other.flip(3)) / 2 for one, other in zip(direct, mirrored, strict=True)]


def bare(network: nn.Module) -> nn.Module:
    """The network without the wrapper that Fabric has put around it."""
    module: nn.Module = getattr(network, "module", network)
    return module
