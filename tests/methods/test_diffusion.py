from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from lesionsplit.data.augment import Augmentation
from lesionsplit.data.cache import prepare
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.sampling import Batch, Sampler
from lesionsplit.data.table import Table
from lesionsplit.images import as_float
from lesionsplit.methods.diffusion import (
    DiffusionMethod,
    DiffusionSettings,
    counterfactual,
    draw_conditions,
    draw_levels,
    follow,
    guided,
    heat_map,
    noise_fields,
    one_step,
)
from lesionsplit.networks.denoiser import Condition, DenoiserSettings
from lesionsplit.synthesis.fields import lungs_of

SETTINGS = DiffusionSettings(network=DenoiserSettings(channels=(8, 12), embedding=8), warmup_steps=2)
NORMAL, LESION, NONE = Condition.NORMAL, Condition.LESION, Condition.NONE


def method(settings: DiffusionSettings = SETTINGS) -> DiffusionMethod:
    torch.manual_seed(0)
    made = settings.build()
    nn.init.normal_(made.network.head.weight, std=0.1)  # type: ignore[union-attr, arg-type]  # a fresh one is silent
    made.setup(Fabric(accelerator="cpu", devices=1))
    return made


def batch(count: int = 2) -> Batch:
    """Slices that are all lung but for their first row."""
    generator = torch.Generator().manual_seed(1)
    normal, lesion = (torch.rand(count, 1, 16, 16, generator=generator) - 0.5 for _ in range(2))
    for images in (normal, lesion):
        images[:, :, 0, :] = -1.0  # black, by which the rest is known for lung
    return Batch(normal, lesion)


def test_noise_of_a_reading_follows_from_its_seed_and_comes_in_opposite_pairs() -> None:
    first, second, third = noise_fields(torch.zeros(5, 1, 8, 12), 3, 0.0, 7)
    expected = torch.randn(2, 1, 1, 8, 12, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(first, expected[0].view(1, 1, 8, 12))
    assert torch.equal(second, -first)
    torch.testing.assert_close(third, expected[1].view(1, 1, 8, 12))
    torch.manual_seed(99)
    assert torch.equal(next(noise_fields(torch.zeros(1, 1, 8, 12), 1, 0.0, 7)), first)


# Denoising, with denoisers that are known


def gaussian(spread: dict[Condition, float], mean: dict[Condition, float]) -> Any:
    """The best possible denoiser where slices are N(mean, spread**2) pixel by pixel: v in closed form."""

    def denoise(noisy: Tensor, level: float, condition: Condition) -> Tensor:
        signal, sigma = math.cos(level * math.pi / 2), math.sin(level * math.pi / 2)
        variance = signal**2 * spread[condition] ** 2 + sigma**2
        surprise = (noisy - signal * mean[condition]) / variance
        clean = mean[condition] + signal * spread[condition] ** 2 * surprise
        return signal * sigma * surprise - sigma * clean

    return denoise


def test_one_step_is_the_posterior_mean_of_gaussian_slices() -> None:
    """Opposite noise cancels: x_0 is taken half way to the mean where slice and noise are as strong."""
    denoise = gaussian({NORMAL: 1.0, LESION: 1.0}, {NORMAL: 0.0, LESION: 0.6})
    clean = torch.randn(2, 1, 8, 8)
    fields = noise_fields(clean, 4, 1.0, 0)
    normal, lesion = one_step(denoise, clean, fields, 0.5, (NORMAL, LESION))
    torch.testing.assert_close(normal, clean / 2, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(lesion, clean / 2 + 0.3, rtol=1e-5, atol=1e-5)


def test_ddim_of_standard_slices_loses_the_cosine_of_each_step() -> None:
    """For N(0, 1) v is 0, and a step turns the slice by its angle: there and back leaves cos(angle)**(2 * steps)."""
    denoise = gaussian({NORMAL: 1.0, NONE: 1.0}, {NORMAL: 0.0, NONE: 0.0})
    clean = torch.randn(1, 1, 4, 4)
    for steps in (1, 5):
        (back,) = counterfactual(denoise, clean, 0.8, steps, (NORMAL,))
        kept = math.cos(0.8 * math.pi / 2 / steps) ** (2 * steps)
        torch.testing.assert_close(back, kept * clean, rtol=1e-4, atol=1e-5)


def test_ddim_there_and_back_gives_the_slice_back() -> None:
    clean = 0.3 + 0.5 * torch.randn(1, 1, 8, 8)
    denoise = gaussian({NORMAL: 0.5, NONE: 0.5}, {NORMAL: 0.3, NONE: 0.3})
    (back,) = counterfactual(denoise, clean, 0.7, 400, (NORMAL,))
    torch.testing.assert_close(back, clean, rtol=0.01, atol=0.01)


def test_a_counterfactual_moves_from_one_distribution_to_the_other() -> None:
    """All the way to noise and back as of N(-1, 0.25): the same quantile of another normal distribution."""
    denoise = gaussian({NORMAL: 0.5, NONE: 1.0}, {NORMAL: -1.0, NONE: 2.0})
    clean = 2 + torch.linspace(-1, 1, 5).view(1, 1, 1, 5)
    (back,) = counterfactual(denoise, clean, 0.999, 400, (NORMAL,))
    torch.testing.assert_close(back, -1 + (clean - 2) / 2, rtol=0.03, atol=0.03)


def test_no_way_is_no_change() -> None:
    clean = torch.randn(1, 1, 4, 4)
    assert torch.equal(follow(gaussian({}, {}), clean, [0.3], NONE), clean)


class Telling(nn.Module):
    """A denoiser that answers with the condition that it is told."""

    def forward(self, *inputs: Tensor) -> Tensor:
        noisy, _, _, condition = inputs
        return condition.view(-1, 1, 1, 1).float().expand_as(noisy)


def test_guidance_overstates_the_condition() -> None:
    """v + w (v - v of no condition): 2 + 3 (2 - 0) for `LESION`; without a condition there is no guidance."""
    image = torch.zeros(2, 1, 4, 4)
    denoise = guided(Telling(), image, 3.0)
    assert (denoise(image, 0.5, LESION) == 8).all()
    assert (denoise(image, 0.5, NONE) == 0).all()
    assert (guided(Telling(), image, 0.0)(image, 0.5, LESION) == 2).all()


# The reading


def test_heat_maps_by_hand() -> None:
    images = torch.tensor([[[[0.5, -0.5, 0.0, 0.9]]]])
    normal = torch.tensor([[[[0.1, 0.1, -3.0, 0.1]]]])
    lesion = torch.tensor([[[[0.7, 0.0, -2.8, 0.9]]]])
    lungs = torch.tensor([[[[1.0, 1.0, 1.0, 0.0]]]])
    expected = {
        "residual": ([0.2, 0.3, 0.5, 0], [0.1, 0.1, -1.0, 0.9]),
        "residual-positive": ([0.2, 0, 0.5, 0], [0.1, 0.1, -1.0, 0.9]),
        "contrast": ([0.3, 0, 0.1, 0], [-0.1, -0.5, -0.2, 0.9]),
    }
    for kind, (score, healthy) in expected.items():
        found = heat_map(images, [normal, lesion], lungs, kind)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.score.flatten(), score, atol=1e-6)
        np.testing.assert_allclose(found.healthy.flatten(), healthy, atol=1e-6)


@pytest.mark.parametrize("reading", ["one-step", "counterfactual"])
@pytest.mark.parametrize("kind", ["residual", "residual-positive", "contrast"])
def test_a_slice_scores_the_same_alone_and_in_a_batch(reading: str, kind: str) -> None:
    settings = msgspec.structs.replace(
        SETTINGS, sampling_method=reading, heat_map=kind, guidance=1.0, draws=2, sampling_steps=2
    )
    made, images = method(settings), batch().images
    whole = settings.infer(made.network, images)
    torch.manual_seed(5)  # the noise is not that of the process
    alone = settings.infer(made.network, images[1:2])
    assert whole.score.shape == whole.healthy.shape == images.shape
    assert whole.score.min() >= 0
    assert whole.score.max() <= 1
    assert whole.score.max() > 0
    assert (whole.score[:, :, 0] == 0).all()  # outside the lungs
    assert torch.equal(whole.healthy[:, :, 0], images[:, :, 0])
    torch.testing.assert_close(whole.score[1:2], alone.score, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(whole.healthy[1:2], alone.healthy, rtol=1e-4, atol=1e-5)


def test_mirrored_is_the_mean_with_the_mirror_image() -> None:
    settings = msgspec.structs.replace(SETTINGS, sampling_method="counterfactual", sampling_steps=2)
    made, images = method(settings), batch().images
    here, there = (settings.infer(made.network, one) for one in (images, images.flip(3)))
    both = msgspec.structs.replace(settings, mirror_average=True).infer(made.network, images)
    torch.testing.assert_close(both.score, (here.score + there.score.flip(3)) / 2)
    torch.testing.assert_close(both.healthy, (here.healthy + there.healthy.flip(3)) / 2)
    assert not torch.allclose(here.score, both.score)


def test_the_canvas_must_suit_the_network() -> None:
    assert SETTINGS.network.stride == 4
    assert DiffusionSettings().network.stride == 16


# Training


def test_levels_are_spread_over_the_batch_in_no_order() -> None:
    torch.manual_seed(0)
    drawn = draw_levels(torch.zeros(10, 1, 1, 1))
    assert (drawn * 10).long().sort().values.tolist() == list(range(10))
    assert (drawn * 10).long().tolist() != list(range(10))


def test_labels_are_left_out_for_their_share() -> None:
    torch.manual_seed(0)
    drawn = draw_conditions(Batch(torch.zeros(4000, 1, 1, 1), torch.zeros(4000, 1, 1, 1)), 0.2)
    assert set(drawn[:4000].tolist()) == {NONE, NORMAL}
    assert set(drawn[4000:].tolist()) == {NONE, LESION}
    assert (drawn == NONE).float().mean().item() == pytest.approx(0.2, abs=0.015)
    kept = draw_conditions(Batch(torch.zeros(2, 1, 1, 1), torch.zeros(3, 1, 1, 1)), 0.0)
    assert kept.tolist() == [NORMAL] * 2 + [LESION] * 3


def test_the_step_is_that_of_a_plain_implementation() -> None:
    """v-prediction inside the lungs, plain; the first step has half of the learning rate."""
    settings = msgspec.structs.replace(SETTINGS, colour=0.0, label_dropout=0.3)
    made, twin, data = method(settings), method(settings), batch()
    torch.manual_seed(4)
    terms = made.step(data, 0)
    assert set(terms) == {"denoising"}
    assert not terms["denoising"].requires_grad

    torch.manual_seed(4)
    images = torch.cat([data.normal, data.lesion])
    clean, noise = 3 * images, torch.randn(4, 1, 16, 16)
    level = (torch.randperm(4) + torch.rand(4)) / 4
    condition = torch.tensor([1, 1, 2, 2])
    condition[torch.rand(4) < 0.3] = 0
    signal, sigma = (part(level * math.pi / 2).view(4, 1, 1, 1) for part in (torch.cos, torch.sin))
    lungs = lungs_of(images)
    v = twin.network(signal * clean + sigma * noise, lungs, level, condition)
    loss = (v - (signal * noise - sigma * clean))[lungs > 0].square().mean()
    torch.testing.assert_close(terms["denoising"], loss.detach())
    optimizer = torch.optim.AdamW(twin.network.parameters(), lr=5e-4, weight_decay=1e-4)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(twin.network.parameters(), 1.0)
    optimizer.step()
    for ours, theirs in zip(made.network.parameters(), twin.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_it_learns_the_phantom_from_image_labels(tmp_path: Path, phantom: Table) -> None:
    """The loss falls, and average precision, by scikit-learn, on slices it has not seen beats the share of lesion.

    A residual would prove little, since lesions are brighter than lung; the contrast is 0 until labels mean something.
    """
    placement = PlacementSettings(rows=32, columns=48, frame=56)
    slices = prepare(phantom.without_masks().split("train"), placement, folder=tmp_path)
    sampler = Sampler(slices, Augmentation(), batch_size=8, seed=0)
    settings = DiffusionSettings(
        network=DenoiserSettings(channels=(16, 24), patch=1), learning_rate=3e-3, warmup_steps=10
    )
    assert settings.heat_map == "contrast"
    torch.manual_seed(0)
    made = settings.build()
    made.setup(Fabric(accelerator="cpu", devices=1))
    losses = [made.step(sampler.draw(number), number)["denoising"].item() for number in range(160)]
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:10])
    others = phantom.select(lambda row: row.split != "train" and row.label == "lesion")
    annotator = phantom.annotators[0]
    seen = prepare(others, placement, annotator=annotator, folder=tmp_path / "others")
    images = torch.from_numpy(slices.normalisation.apply(as_float(seen.images))).unsqueeze(1)
    score = settings.infer(made.network, images).score.squeeze(1).numpy()
    assert seen.outlines is not None
    inside = np.asarray(seen.images) > 8
    truth = np.asarray(seen.outlines)[inside] >= 128
    assert average_precision_score(truth, score[inside]) > 3 * truth.mean()
