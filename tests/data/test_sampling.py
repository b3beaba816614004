from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionsplit.data.augment import Augmentation
from lesionsplit.data.cache import CachedTeacherOutputs, PreparedSlices
from lesionsplit.data.normalise import Normalisation
from lesionsplit.data.sampling import Sampler, Shuffled, Worker, derive_seed

NORMALS, LESIONS = 7, 5
STILL = Augmentation(flip=False, rotation=0.0, scale=0.0, shift=0.0, gain=0.0, offset=0.0)


@pytest.fixture
def slices() -> PreparedSlices:
    """Twelve slices, each of one grey: its own number."""
    images = np.repeat(np.arange(NORMALS + LESIONS, dtype=np.uint8), 16).reshape(-1, 4, 4)
    return PreparedSlices(
        images=images,
        labels=np.arange(NORMALS + LESIONS) >= NORMALS,
        normalisation=Normalisation(mean=0.0, std=1 / 3),  # leaves grey as it is
        fingerprint="",
    )


def numbers(batch: torch.Tensor) -> list[int]:
    return [round(float(one.mean()) * 255) for one in batch]


def test_every_round_uses_every_slice_once(slices: PreparedSlices) -> None:
    sampler = Sampler(slices, STILL, batch_size=4, seed=0)
    drawn = [sampler.draw(step) for step in range(35)]  # 140 draws: 20 rounds of normals, 28 of lesions
    assert Counter(n for batch in drawn for n in numbers(batch.normal)) == dict.fromkeys(range(NORMALS), 20)
    assert Counter(n for batch in drawn for n in numbers(batch.lesion)) == dict.fromkeys(range(NORMALS, 12), 28)


def test_labels_are_drawn_independently(slices: PreparedSlices) -> None:
    sampler = Sampler(slices, STILL, batch_size=1, seed=0)
    pairs = {(*numbers(b.normal), *numbers(b.lesion)) for b in map(sampler.draw, range(400))}
    assert len(pairs) == NORMALS * LESIONS


def test_a_draw_depends_on_seed_and_step_alone(slices: PreparedSlices) -> None:
    augmentation = Augmentation()
    one, two = (Sampler(slices, augmentation, batch_size=3, seed=5) for _ in range(2))
    for step in range(20):
        one.draw(step)
    assert torch.equal(one.draw(20).lesion, two.draw(20).lesion)
    other = Sampler(slices, augmentation, batch_size=3, seed=6)
    assert not torch.equal(other.draw(20).lesion, two.draw(20).lesion)


def test_processes_share_a_batch_out(slices: PreparedSlices) -> None:
    whole = Sampler(slices, STILL, batch_size=4, seed=0)
    parts = [Sampler(slices, STILL, batch_size=4, seed=0, worker=Worker(rank=rank, world_size=2)) for rank in range(2)]
    for step in (0, 3, 11):
        together = torch.cat([part.draw(step).normal for part in parts])
        assert numbers(together) == numbers(whole.draw(step).normal)


def test_batches_are_in_network_grey() -> None:
    images = np.full((2, 4, 4), 255, dtype=np.uint8)
    prepared = PreparedSlices(
        images=images,
        labels=np.array([False, True]),
        normalisation=Normalisation(mean=0.5, std=0.25),
        fingerprint="",
    )
    batch = Sampler(prepared, STILL, batch_size=2, seed=0).draw(0)
    assert batch.normal.shape == batch.lesion.shape == (2, 1, 4, 4)
    torch.testing.assert_close(batch.normal, torch.full((2, 1, 4, 4), 0.5 / 0.75))


def test_16_bit_slices_keep_all_of_their_levels(slices: PreparedSlices) -> None:
    levels = np.array([0, 1, 2, 3, 4, 5, 6, 255, 32767, 32768, 40000, 65535], np.uint16)  # some use the highest bit
    images = np.repeat(levels, 16).reshape(-1, 4, 4)
    images.flags.writeable = False  # as a memory map is
    batch = Sampler(replace(slices, images=images), STILL, batch_size=5, seed=0).draw(0)
    drawn = {round(float(one[0, 0, 0]) * 65535, 2) for one in batch.lesion}  # a round of all five
    assert drawn == {float(level) for level in levels[NORMALS:]}


def test_without_outlines_a_batch_has_none(slices: PreparedSlices) -> None:
    assert Sampler(slices, Augmentation(), batch_size=2, seed=0).draw(0).outlined is None


@pytest.fixture
def outlined_slices() -> PreparedSlices:
    """Four normal slices, and four with lesion that are white where they are outlined."""
    images = np.zeros((8, 24, 32), dtype=np.uint8)
    for number in range(8):
        images[number, 4 : 12 + number, 6:20] = 255
    lesion = np.arange(8) >= 4
    return PreparedSlices(
        images=images,
        labels=lesion,
        outlines=images * lesion[:, None, None].astype(np.uint8),
        normalisation=Normalisation(mean=0.0, std=1 / 3),
        fingerprint="",
    )


def test_outlines_are_those_of_the_lesion_slices_as_augmented(outlined_slices: PreparedSlices) -> None:
    moving = Augmentation(rotation=20.0, scale=0.2, shift=0.1, gain=0.0, offset=0.0)
    sampler = Sampler(outlined_slices, moving, batch_size=3, seed=0)
    for step in range(10):
        batch = sampler.draw(step)
        assert batch.outlined is not None
        assert batch.outlined.shape == batch.lesion.shape
        assert torch.equal(batch.outlined, (batch.lesion >= 0.5).float())


def test_outlines_change_nothing_about_the_slices(outlined_slices: PreparedSlices) -> None:
    without = replace(outlined_slices, outlines=None)
    ours, theirs = (Sampler(one, Augmentation(), batch_size=3, seed=0) for one in (outlined_slices, without))
    for step in range(3):
        assert torch.equal(ours.draw(step).images, theirs.draw(step).images)


def test_findings_are_those_of_the_lesion_slices_as_augmented(outlined_slices: PreparedSlices) -> None:
    """The healthy versions change in grey as their slices do, how sure teachers are does not."""
    assert outlined_slices.outlines is not None
    without = replace(outlined_slices, outlines=None)
    cached = CachedTeacherOutputs(targets=outlined_slices.outlines, healthy=outlined_slices.images)
    with_outputs = replace(without, teacher_outputs=cached)
    moving = Augmentation(rotation=20.0, scale=0.2, shift=0.1, gain=0.3, offset=0.1)
    still = Augmentation(rotation=20.0, scale=0.2, shift=0.1, gain=0.0, offset=0.0)
    ours, theirs, grey = (
        Sampler(one, changes, batch_size=3, seed=0)
        for one, changes in ((with_outputs, moving), (without, moving), (without, still))
    )
    for step in range(5):
        batch = ours.draw(step)
        assert batch.teacher_outputs is not None
        assert torch.equal(batch.images, theirs.draw(step).images)
        assert torch.equal(batch.teacher_outputs.healthy, batch.lesion)
        assert torch.equal(batch.teacher_outputs.targets, grey.draw(step).lesion)


def test_all_slices_of_a_batch_have_the_normal_ones_first(slices: PreparedSlices) -> None:
    batch = Sampler(slices, STILL, batch_size=3, seed=0).draw(0)
    assert numbers(batch.images) == numbers(batch.normal) + numbers(batch.lesion)


def test_a_stretch_may_cross_rounds() -> None:
    order = Shuffled(5, (1,))
    whole = order.stretch(0, 15)
    assert sorted(whole[:5]) == sorted(whole[5:10]) == sorted(whole[10:]) == list(range(5))
    np.testing.assert_array_equal(order.stretch(3, 9), whole[3:12])


def test_seeds_do_not_collide() -> None:
    assert len({derive_seed(a, b, c) for a in range(5) for b in range(200) for c in range(3)}) == 3000
