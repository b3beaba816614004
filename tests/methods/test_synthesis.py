from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from sklearn.metrics import log_loss

from lesionsplit.data.sampling import Batch
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.methods.base import bare
from lesionsplit.methods.synthesis import (
    Calibration,
    Objective,
    SelfTraining,
    SynthesisMethod,
    SynthesisSettings,
    mean_over,
    objective,
    score,
    self_training_loss,
)
from lesionsplit.networks.lesion_unet import LesionOutput, LesionUNetSettings
from lesionsplit.synthesis.fields import lungs_of
from lesionsplit.synthesis.lesions import SyntheticLesions

SMALL = SynthesisSettings(
    network=LesionUNetSettings(channels=(4, 6), openings=(5,)),
    self_training=SelfTraining(start_step=2, ramp_steps=2, logit_margin=0.0),
)


def slices(seed: int = 0, count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    images = torch.full((count, 1, 32, 48), -0.8)
    images[:, :, 4:28, 4:44] = 0.1 * torch.randn(count, 1, 24, 40, generator=generator)
    return images


def batch() -> Batch:
    return Batch(slices(0), slices(1))


def method(settings: SynthesisSettings = SMALL) -> SynthesisMethod:
    torch.manual_seed(0)
    made = SynthesisMethod(settings)
    made.setup(Fabric(accelerator="cpu"))
    return made


def test_the_terms_by_independent_means() -> None:
    torch.manual_seed(0)
    healthy = torch.rand(2, 1, 8, 8)
    extent = (torch.rand(2, 1, 8, 8) < 0.3).float()
    lungs = torch.ones(2, 1, 8, 8)
    lungs[..., :2] = 0
    extent = extent * lungs
    drawn = SyntheticLesions(healthy + 0.25 * extent, healthy, extent, lungs)
    parts = LesionOutput(torch.randn(2, 1, 8, 8), torch.full((2, 1, 8, 8), 0.1))
    terms = {name: term.item() for name, term in objective(parts, drawn).items()}
    inside = lungs.bool()
    chance = parts.probability[inside].double().numpy()
    truth = extent[inside].numpy()
    pixels = int(lungs.sum())
    assert terms["extent"] == pytest.approx(log_loss(truth, chance) * pixels / (pixels + 1), rel=1e-5)
    dice = (2 * (chance * truth).sum() + 1) / (chance.sum() + truth.sum() + 1)
    assert terms["overlap"] == pytest.approx(1 - dice, rel=1e-5)
    ill = int(extent.sum())
    assert terms["lesion"] == pytest.approx(0.15 * ill / (ill + 1), rel=1e-5)
    assert terms["elsewhere"] == pytest.approx(0.1 * (pixels - ill) / (pixels - ill + 1), rel=1e-5)


def test_a_mean_over_nothing_is_nothing() -> None:
    assert mean_over(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)) == 0


def test_what_is_unsure_is_left_out() -> None:
    lungs = torch.ones(1, 1, 1, 3)
    found = torch.tensor([2.0, 0.4, -2.0]).view(1, 1, 1, 3)
    logits = torch.tensor([1.0, 0.3, -2.0], requires_grad=True)
    parts = LesionOutput(logits.view(1, 1, 1, 3), torch.zeros(1, 1, 1, 3))
    loss = self_training_loss(parts, found, lungs, margin=0.7)
    chance = logits.detach().sigmoid()
    unlike = F.binary_cross_entropy(chance[[0, 2]], torch.tensor([1.0, 0.0]), reduction="sum") / 3
    overlap = 1 - (2 * chance[0] + 1) / (chance[0] + chance[2] + 1 + 1)
    assert loss.item() == pytest.approx((unlike + overlap).item(), rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[1] == 0


def test_lesion_slices_are_not_looked_at_before_their_time() -> None:
    """Nor ever, where the term's weight is zero."""

    def after(settings: SynthesisSettings, lesion: torch.Tensor, steps: int) -> torch.Tensor:
        trained = method(settings)
        for number in range(steps):
            torch.manual_seed(number)
            trained.step(Batch(slices(0), lesion), number)
        return torch.cat([weight.detach().flatten() for weight in trained.network.parameters()])

    never = msgspec.structs.replace(SMALL, objective=Objective(own=0.0))
    poison = torch.full((3, 1, 32, 48), torch.nan)
    assert torch.equal(after(SMALL, slices(1), 2), after(SMALL, poison, 2))
    assert torch.equal(after(never, slices(1), 4), after(never, poison, 4))
    assert not torch.equal(after(SMALL, slices(1), 4), after(never, slices(1), 4))


def test_trust_in_its_own_findings_grows() -> None:
    trained = method()
    assert [trained._self_training_weight(number) for number in range(5)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    named = [set(trained.step(batch(), number)) for number in range(3)]
    assert named == [{"extent", "overlap", "lesion", "elsewhere"}] * 2 + [
        {"extent", "overlap", "lesion", "elsewhere", "own"}
    ]


def test_the_teacher_is_a_running_average() -> None:
    trained = method(msgspec.structs.replace(SMALL, self_training=SelfTraining(ema_decay=0.75)))
    before = [weight.clone() for weight in trained.teacher.parameters()]
    trained.step(batch(), 0)
    for old, average, weight in zip(before, trained.teacher.parameters(), trained.network.parameters(), strict=True):
        torch.testing.assert_close(average, 0.75 * old + 0.25 * weight)
        assert not average.requires_grad


def test_the_rate_warms_up() -> None:
    trained = method(msgspec.structs.replace(SMALL, learning_rate=1e-3, warmup_steps=4))
    rates = []
    for number in range(5):
        trained.step(batch(), number)
        rates.append(trained.optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(rates, [0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3])


def test_the_reading_adds_up() -> None:
    network = SMALL.build_network().eval()
    torch.nn.init.normal_(network.decoder.head.weight)
    images = slices()
    reading = SMALL.infer(network, images)
    parts = network.with_mirror(images, LUNGS.lesion_part)
    torch.testing.assert_close(reading.healthy + parts.added, images)
    assert torch.equal(reading.score, score(parts.logit, images, SMALL.calibration))


def test_neither_side_of_the_chest_comes_first() -> None:
    torch.manual_seed(0)
    network = SMALL.build_network().eval()
    torch.nn.init.normal_(network.decoder.head.weight)
    images = slices()
    here, there = SMALL.infer(network, images), SMALL.infer(network, images.flip(3))
    torch.testing.assert_close(here.score, there.score.flip(3))
    torch.testing.assert_close(here.healthy, there.healthy.flip(3))


def lung_with_a_step() -> torch.Tensor:
    """Parenchyma at 0, a wide dense half at 1: the slice's own scale is 0 to 1."""
    images = torch.full((1, 1, 40, 60), -0.8)
    images[..., 5:35, 5:55] = 0.0
    images[..., 5:35, 40:55] = 1.0
    return images


def test_the_score_by_hand() -> None:
    settings = Calibration(temperature=2.0, faint=0.1, conspicuous=0.4, pleural_margin=0.25)
    images = lung_with_a_step()
    found = score(torch.full_like(images, 1.0), images, settings)
    chance = torch.tensor(0.5).sigmoid()
    torch.testing.assert_close(found[0, 0, 20, 20], chance * 0.1 / 0.5)  # as parenchyma
    torch.testing.assert_close(found[0, 0, 20, 50], chance)  # as dense as it gets
    torch.testing.assert_close(found[0, 0, 20, 55], 0.25 * found[0, 0, 19:22, 54].max())  # the rim
    assert (found[0, 0, :, 56:] == 0).all()
    assert (score(torch.full_like(images, 2.0), images, settings) >= found).all()


def test_the_zero_of_the_score_is_what_normal_lung_seldom_passes() -> None:
    trained = method(msgspec.structs.replace(SMALL, calibration=Calibration(update_every=2, ema_decay=0.5, fpr=0.1)))
    torch.nn.init.normal_(trained.teacher.decoder.head.weight)
    looks = []
    for number in (0, 1, 2, 3, 4, 6):
        normal = slices(number)
        trained._calibrate(normal, number)
        if number % 2 == 0:
            logits = trained.teacher(normal).logit[lungs_of(normal) > 0].detach().numpy()
            looks.append(np.quantile(logits, 0.9))
    mean = (looks[0] + looks[1]) / 2  # a plain mean until its memory is full
    mean = (mean + looks[2]) / 2
    assert bare(trained.network).logit_offset.item() == pytest.approx((mean + looks[3]) / 2, rel=1e-5)


def test_it_learns_what_is_drawn() -> None:
    settings = msgspec.structs.replace(SMALL, learning_rate=3e-3, warmup_steps=5, objective=Objective(own=0.0))
    trained = method(settings)
    measured = []
    for number in range(60):
        torch.manual_seed(number)
        measured.append(trained.step(batch(), number)["overlap"].item())
    assert np.mean(measured[-15:]) < np.mean(measured[:15]) - 0.15
