from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from scipy import ndimage
from sklearn.metrics import average_precision_score

from lesionsplit.data.augment import Augmentation
from lesionsplit.data.cache import prepare
from lesionsplit.data.normalise import SPREAD
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.sampling import Batch, Sampler
from lesionsplit.data.table import Table
from lesionsplit.errors import DataError
from lesionsplit.images import as_float
from lesionsplit.methods.supervised import SupervisedMethod, SupervisedSettings, objective
from lesionsplit.networks.denoiser import Condition, DenoiserSettings
from lesionsplit.synthesis.fields import lungs_of
from lesionsplit.synthesis.scanner import ScannerSettings

SETTINGS = SupervisedSettings(
    annotator="a",
    network=DenoiserSettings(channels=(4, 6), embedding=8),
    scanner=ScannerSettings(sharpness=0.0, noise=0.0),
    warmup_steps=2,
)


def method(settings: SupervisedSettings = SETTINGS) -> SupervisedMethod:
    torch.manual_seed(0)
    made = settings.build()
    made.setup(Fabric(accelerator="cpu", devices=1))
    return made


def batch() -> Batch:
    """Slices that are all lung; in those with lesion the upper half is outlined."""
    generator = torch.Generator().manual_seed(1)
    normal, lesion = (torch.rand(2, 1, 16, 16, generator=generator) - 0.5 for _ in range(2))
    for images in (normal, lesion):
        images[:, :, 0, :] = -1.0  # black, by which the rest is known for lung
    outlined = torch.zeros(2, 1, 16, 16)
    outlined[:, :, :8] = 1
    return Batch(normal, lesion, outlined)


def plainly(network: torch.nn.Module, images: torch.Tensor, lungs: torch.Tensor) -> torch.Tensor:
    """What the denoiser draws of slices on its own scale, told that they are without noise and with lesion."""
    told = torch.full((len(images),), int(Condition.LESION))
    drawn: torch.Tensor = network(images * SPREAD, lungs, torch.zeros(len(images)), told)
    return drawn


def test_the_terms_are_cross_entropy_and_overlap_inside_the_lungs() -> None:
    logit = torch.tensor([[[[0.0, 2.0], [-1.0, 9.0]]]])
    outlined = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])
    lungs = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]]])  # the worst mistake is outside of them
    terms = objective(logit, outlined, lungs)
    chance = 1 / (1 + np.exp(-np.array([0.0, 2.0, -1.0])))
    assert terms["extent"].item() == pytest.approx(-np.log([1 - chance[0], chance[1], chance[2]]).mean(), rel=1e-6)
    expected = 1 - (2 * chance[1:].sum() + 1) / (chance.sum() + 2 + 1)
    assert terms["overlap"].item() == pytest.approx(expected, rel=1e-6)


def test_an_outline_outside_the_lungs_counts_for_nothing() -> None:
    logit = torch.randn(1, 1, 4, 4)
    lungs, outlined = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    lungs[..., :2] = 1
    beyond = outlined.clone()
    beyond[..., 2:] = 1
    assert objective(logit, outlined, lungs) == objective(logit, beyond, lungs)


def test_the_step_is_that_of_a_plain_implementation() -> None:
    """Normal slices are there with an empty outline; the first step has half of the learning rate."""
    made, twin, data = method(), method(), batch()
    terms = made.step(data, 0)
    assert set(terms) == {"extent", "overlap"}
    assert not any(term.requires_grad for term in terms.values())
    images = torch.cat([data.normal, data.lesion])
    lungs = torch.ones_like(images)
    lungs[:, :, :1] = 0
    outlined = torch.cat([torch.zeros(2, 1, 16, 16), data.outlined]) * lungs
    logit = plainly(twin.network, images, lungs)
    chance = logit.sigmoid() * lungs
    loss = F.binary_cross_entropy_with_logits(logit[lungs > 0], outlined[lungs > 0])
    loss = loss + 1 - (2 * (chance * outlined).sum() + 1) / (chance.sum() + outlined.sum() + 1)
    optimizer = torch.optim.AdamW(twin.network.parameters(), lr=5e-4, weight_decay=1e-4)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(twin.network.parameters(), 5.0)
    optimizer.step()
    for ours, theirs in zip(made.network.parameters(), twin.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_slices_are_given_back_as_their_own_healthy_versions() -> None:
    made = method()
    images = batch().lesion
    reading = SETTINGS.infer(made.network, images)
    assert torch.equal(reading.healthy, images)
    lungs = lungs_of(images)
    there = plainly(made.network, images.flip(3), lungs.flip(3)).flip(3)
    torch.testing.assert_close(reading.score, ((plainly(made.network, images, lungs) + there) / 2).sigmoid())
    assert SETTINGS.margin_pixels == 0


def test_a_pixel_beside_the_lungs_has_a_share_of_its_neighbours_score() -> None:
    made, images = method(), batch().lesion
    settings = msgspec.structs.replace(SETTINGS, pleural_margin=0.9)
    assert settings.margin_pixels == 1
    without, score = (one.infer(made.network, images).score for one in (SETTINGS, settings))
    lungs = lungs_of(images)
    highest = ndimage.maximum_filter((without * lungs).detach().numpy(), size=(1, 1, 3, 3), mode="constant")
    beside = 0.9 * torch.from_numpy(highest)
    torch.testing.assert_close(score, torch.where(lungs > 0, without, beside))


def test_without_outlines_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(DataError, match="the slices have no masks"):
        method().step(Batch(*batch()[:2]), 0)


def test_it_learns_where_an_annotator_outlines(tmp_path: Path, phantom: Table) -> None:
    """Average precision on slices it has not seen, by scikit-learn, against the share of lesion."""
    placement = PlacementSettings(rows=32, columns=48, frame=56)
    given = phantom.supervised_by("b")
    slices = prepare(given.split("train"), placement, annotator="b", folder=tmp_path)
    sampler = Sampler(slices, Augmentation(), batch_size=4, seed=0)
    made = method(
        SupervisedSettings(annotator="b", network=DenoiserSettings(channels=(8, 12, 16), embedding=8), warmup_steps=5)
    )
    for number in range(60):
        made.step(sampler.draw(number), number)
    others = phantom.select(lambda row: row.split != "train" and row.label == "lesion")
    seen = prepare(others, placement, annotator="b", folder=tmp_path / "others")
    images = torch.from_numpy(slices.normalisation.apply(as_float(seen.images))).unsqueeze(1)
    with torch.no_grad():
        score = made.settings.infer(made.network, images).score.squeeze(1).numpy()
    assert seen.outlines is not None
    inside = np.asarray(seen.images) > 8
    truth = np.asarray(seen.outlines)[inside] >= 128
    assert average_precision_score(truth, score[inside]) > 3 * truth.mean()
