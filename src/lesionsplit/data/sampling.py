"""The slices of a training step.

Normal and lesion slices are sampled independently, each label in shuffled rounds that use all of its slices
before any is repeated. A batch is a function of seed, step and rank alone, so that a continued run needs no
stored state to get the batches of an uninterrupted one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lesionsplit.data.augment import Augmentation
from lesionsplit.data.cache import PreparedSlices
from lesionsplit.images import Grey


class TeacherOutputs(NamedTuple):
    """Outputs of teachers for the slices with lesion of a batch, (B, 1, H, W) each."""

    targets: Tensor
    """Confidence that a pixel is lesion, 0 to 1."""

    healthy: Tensor
    """The slices without their lesions, in network grey."""


class Batch(NamedTuple):
    """As many normal slices as slices with lesion, (B, C, H, W) each, in network grey.

    There is none with lesion where the data set has none.
    """

    normal: Tensor
    lesion: Tensor
    outlined: Tensor | None = None
    """(B, 1, H, W), the annotator's mask of the slices with lesion, 1 inside; None for every weakly supervised
    method."""

    teacher_outputs: TeacherOutputs | None = None
    """None for every method without teachers."""

    @property
    def images(self) -> Tensor:
        """All slices, (2B, C, H, W), the normal ones first."""
        return torch.cat([self.normal, self.lesion])


class Shuffled:
    """An endless sequence of shuffled rounds of the numbers below ``count``, with access to any part of it."""

    def __init__(self, count: int, seed: tuple[int, ...]) -> None:
        self.count = count
        self.seed = seed
        self._rounds: dict[int, npt.NDArray[np.intp]] = {}

    def stretch(self, start: int, length: int) -> npt.NDArray[np.intp]:
        """The numbers at positions ``start`` to ``start + length`` of the endless sequence."""
        if not self.count:
            return np.empty(0, dtype=np.intp)
        positions = np.arange(start, start + length)
        return np.array([self._round(int(p // self.count))[p % self.count] for p in positions])

    def _round(self, number: int) -> npt.NDArray[np.intp]:
        if number not in self._rounds:
            if len(self._rounds) > 1:  # a stretch touches this round and perhaps the next
                self._rounds.clear()
            self._rounds[number] = np.random.default_rng((*self.seed, number)).permutation(self.count)
        return self._rounds[number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process of a training."""

    rank: int = 0
    world_size: int = 1
    """Number of processes."""

    device: torch.device | str = "cpu"


class Sampler:
    """Makes training batches from prepared slices."""

    def __init__(
        self,
        slices: PreparedSlices,
        augmentation: Augmentation,
        *,
        batch_size: int,
        seed: int,
        worker: Worker = Worker(),
    ) -> None:
        """``batch_size`` slices of each label per step, divided among all processes."""
        self.slices = slices
        self.augmentation = augmentation
        self.share = batch_size // worker.world_size
        self.batch_size = batch_size
        self.seed = seed
        self.rank = worker.rank
        self.device = worker.device
        stored: list[Grey] = [slices.images]
        self._greys: int = slices.kind.channels
        if slices.outlines is not None:
            stored.append(slices.outlines)
        elif slices.teacher_outputs is not None:
            stored += [slices.teacher_outputs.healthy, slices.teacher_outputs.targets]
            self._greys *= 2  # slices and their healthy versions get the same augmentation
        if slices.regions is not None:
            stored.append(slices.regions)
        self._stored = _load(stored, torch.device(worker.device))
        self._positions = [slices.where(lesion=lesion) for lesion in (False, True)]
        self._order = [Shuffled(len(at), (seed, label)) for label, at in enumerate(self._positions)]

    def draw(self, step: int) -> Batch:
        """The batch of one step, (share, 1, H, W) of each label, augmented and normalised.

        Masks and teacher outputs, where the prepared slices have them, are moved with their slices.
        """
        start = step * self.batch_size + self.rank * self.share
        chosen = np.concatenate(
            [at[order.stretch(start, self.share)] for at, order in zip(self._positions, self._order, strict=True)]
        )
        generator = torch.Generator().manual_seed(derive_seed(self.seed, step, self.rank))
        read = torch.cat([_read(one, torch.from_numpy(chosen), self.device) for one in self._stored], dim=1)
        sizes = [1 if one.ndim == 3 else one.shape[1] for one in self._stored]
        with_region = self.slices.regions is not None
        augmented = self.augmentation.apply(read, generator, self._greys, with_region=with_region)
        grey, *others = augmented.split_with_sizes(sizes, dim=1)
        kind, normalisation = self.slices.kind, self.slices.normalisation
        region = others.pop() if with_region else grey
        normal, lesion = kind.on_canvas(normalisation.apply(grey), region).tensor_split([self.share])
        batch = Batch(normal, lesion)
        if self.slices.outlines is not None:
            (outlined,) = others
            return batch._replace(outlined=(outlined[self.share :] >= 0.5).to(grey.dtype))
        if self.slices.teacher_outputs is not None:
            healthy, targets, inside = (one[self.share :] for one in (*others, region))
            healthy = kind.on_canvas(normalisation.apply(healthy), inside)
            return batch._replace(teacher_outputs=TeacherOutputs(targets, healthy))
        return batch


def _load(stored: list[Grey], device: torch.device) -> list[Tensor]:
    """Stored slices as tensors: in the GPU's memory, if they fill at most half of what is free there.

    They stay in 8 or 16 bit: 3800 slices of 256 x 256 are 250 MB. Elsewhere they stay memory-mapped, and a step
    reads only the slices that it needs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the arrays are read-only, and never written to
        whole = [torch.from_numpy(one.view(np.int16) if one.dtype == np.uint16 else one) for one in stored]
    if device.type == "cuda" and 2 * sum(one.nbytes for one in whole) <= torch.cuda.mem_get_info(device)[0]:
        return [one.to(device) for one in whole]
    return whole


def _read(stored: Tensor, chosen: Tensor, device: torch.device | str) -> Tensor:
    """Some of the stored slices as a fraction of full scale, (B, C, H, W); 16 bit is stored as signed integers."""
    values = stored[chosen.to(stored.device)].to(device)
    if values.ndim == 3:
        values = values.unsqueeze(1)
    if values.dtype == torch.int16:
        return values.int().bitwise_and(0xFFFF).float() / 0xFFFF
    return values.float() / 0xFF


def derive_seed(*parts: int) -> int:
    """One seed from several numbers; the same numbers give the same seed."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint32)[0])
