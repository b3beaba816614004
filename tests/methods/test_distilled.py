from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from scipy import ndimage

from lesionsplit.data.sampling import Batch, TeacherOutputs
from lesionsplit.domains.base import Domain
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.errors import DataError, SettingsError
from lesionsplit.losses import Terms
from lesionsplit.methods import distilled
from lesionsplit.methods.distilled import (
    DistilledMethod,
    DistilledSettings,
    SyntheticLesionSettings,
    decompose,
    objective,
    synthetic_targets,
)
from lesionsplit.methods.healing import HealingSettings, healing_target
from lesionsplit.networks.denoiser import DenoiserSettings
from lesionsplit.networks.lesion_unet import LesionOutput
from lesionsplit.settings import from_table
from lesionsplit.synthesis.fields import lung_field, lungs_of
from lesionsplit.synthesis.lesions import LesionSettings, SyntheticLesions
from lesionsplit.synthesis.scanner import ScannerSettings
from lesionsplit.training.run import RunSettings

SETTINGS = DistilledSettings(
    network=DenoiserSettings(channels=(8, 12), embedding=8),
    score_odds=3.3,
    logit_scale=1.25,
    pleural_margin=0.0,
    scanner=ScannerSettings(sharpness=0.0, noise=0.0),
    warmup_steps=2,
)


def method(settings: DistilledSettings = SETTINGS) -> DistilledMethod:
    torch.manual_seed(0)
    made = settings.build()
    made.setup(Fabric(accelerator="cpu", devices=1))
    return made


def batch() -> Batch:
    """Slices whose lungs fill them but for two rows; of those with lesion the teachers say something everywhere."""
    generator = torch.Generator().manual_seed(1)
    normal, lesion = (torch.rand(2, 1, 16, 16, generator=generator) - 0.5 for _ in range(2))
    for images in (normal, lesion):
        images[:, :, :2] = -1.0  # black, by which the rest is known for lung
    chance = torch.rand(2, 1, 16, 16, generator=generator)
    return Batch(normal, lesion, teacher_outputs=TeacherOutputs(chance, lesion - 0.3 * chance))


def test_the_terms_are_cross_entropy_to_one_pixel_beyond_the_lungs_and_the_distance_inside() -> None:
    logit = torch.tensor([[[[0.0, 2.0, -1.0, 9.0]]]])
    chance = torch.tensor([[[[0.25, 1.0, 0.5, 0.0]]]])
    lungs = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])  # the third pixel is beside them, the fourth is not
    added, drawn = torch.tensor([[[[0.5, 0.0, 7.0, 7.0]]]]), torch.tensor([[[[0.25, 0.5, 0.0, 0.0]]]])
    terms = objective(LesionOutput(logit, added), chance, drawn, lungs)
    m, t = 1 / (1 + np.exp(-np.array([0.0, 2.0, -1.0]))), np.array([0.25, 1.0, 0.5])
    assert terms["chance"].item() == pytest.approx(-(t * np.log(m) + (1 - t) * np.log(1 - m)).mean(), rel=1e-6)
    assert terms["lesion"].item() == pytest.approx((0.25 + 0.5) / 2)


def test_the_step_is_that_of_a_plain_implementation() -> None:
    """In normal slices is nothing where nothing is drawn; the first step has half of the learning rate."""
    made, twin, data = method(), method(), batch()
    assert data.teacher_outputs is not None
    terms = made.step(data, 0)
    assert set(terms) == {"chance", "lesion"}
    assert not any(term.requires_grad for term in terms.values())
    ((logit, added),) = decompose(twin.network, torch.cat([data.normal, data.lesion]))
    chance = torch.cat([torch.zeros(2, 1, 16, 16), data.teacher_outputs.targets])
    drawn = torch.cat([torch.zeros(2, 1, 16, 16), 0.3 * data.teacher_outputs.targets])
    loss = F.binary_cross_entropy_with_logits(logit[:, :, 1:], chance[:, :, 1:])
    loss = loss + 5 * (added - drawn)[:, :, 2:].abs().mean()
    optimizer = torch.optim.AdamW(twin.network.parameters(), lr=5e-4, weight_decay=1e-4)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(twin.network.parameters(), 5.0)
    optimizer.step()
    for ours, theirs in zip(made.network.parameters(), twin.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_scores_odds_are_those_of_the_chance_made_steeper_up_to_one_pixel_beyond_the_lungs() -> None:
    made, images = method(), batch().lesion
    reading = SETTINGS.infer(made.network, images)
    (here,), (there,) = decompose(made.network, images), decompose(made.network, images.flip(3))
    assert (reading.score[:, :, 0] == 0).all()
    chance = ((here.logit + there.logit.flip(3)) / 2).sigmoid()
    odds = SETTINGS.score_odds * (chance / (1 - chance)) ** SETTINGS.logit_scale
    torch.testing.assert_close(reading.score[:, :, 1:], (odds / (1 + odds))[:, :, 1:])
    assert torch.equal(reading.healthy, images - ((here.added + there.added.flip(3)) / 2).clip(min=0))


def test_a_pixel_beside_the_lungs_has_a_share_of_its_neighbours_score_at_least() -> None:
    made, images = method(), batch().lesion
    for weight in made.network.parameters():
        weight.data += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel()))
    without = SETTINGS.infer(made.network, images).score
    score = msgspec.structs.replace(SETTINGS, pleural_margin=0.9).infer(made.network, images).score
    lungs = lungs_of(images)
    highest = ndimage.maximum_filter((without * lungs).detach().numpy(), size=(1, 1, 3, 3), mode="constant")
    raised = torch.maximum(without, 0.9 * torch.from_numpy(highest))
    torch.testing.assert_close(score, torch.where(lungs > 0, without, raised))
    assert (score[:, :, 1] > without[:, :, 1]).any()
    assert not score[:, :, 0].any()


def test_a_drawn_lesion_is_believed_the_more_the_more_it_adds() -> None:
    """By half where it adds `half` of the way from parenchyma to dense vessels, and nowhere beyond its extent."""
    healthy = batch().normal
    extent = torch.zeros_like(healthy)
    extent[:, :, 6:] = 1
    field = lung_field(healthy)
    scale = field.dense - field.parenchyma
    shares = torch.tensor([0.1, 0.9]).view(2, 1, 1, 1)
    sure = synthetic_targets(
        SyntheticLesions(healthy + shares * scale * field.lungs, healthy, extent, field.lungs), half=0.1
    )
    assert not sure[:, :, :6].any()
    middle = sure[:, :, 8:12, 6:10]  # away from the edge of the lungs, where the smoothing of what is added matters
    torch.testing.assert_close(middle[0], torch.full_like(middle[0], 0.5), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(middle[1], torch.full_like(middle[1], 0.9), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("full_lesion_removal", [False, True])
def test_drawn_lesions_are_taught_with_what_was_drawn(
    monkeypatch: pytest.MonkeyPatch, full_lesion_removal: bool
) -> None:
    """The first half of what the objective gets is the drawn one, the second the teachers'."""
    asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def remember(
        parts: LesionOutput, chance: torch.Tensor, added: torch.Tensor, lungs: torch.Tensor, domain: Domain
    ) -> Terms:
        asked.append((chance, added))
        return objective(parts, chance, added, lungs, domain)

    monkeypatch.setattr(distilled, "objective", remember)
    drawing = SyntheticLesionSettings(lesions=LesionSettings(slice_fraction=1.0, radius=4.0))
    made = method(msgspec.structs.replace(SETTINGS, synthetic_lesions=drawing, full_lesion_removal=full_lesion_removal))
    data = batch()
    assert data.teacher_outputs is not None
    made.step(data, 0)
    ((chance, added),) = asked
    assert chance[:2].max() > 0.1
    assert (added[:2][chance[:2] > 0.1] > 0).all()
    assert torch.equal(chance[2:], data.teacher_outputs.targets)
    more = LUNGS.full_lesion(data.lesion, data.teacher_outputs.targets, data.teacher_outputs.healthy)
    less = data.lesion - data.teacher_outputs.healthy
    torch.testing.assert_close(added[2:], more if full_lesion_removal else less)
    assert (more - less).max() > 0.1


def test_what_stands_out_is_taken_off_where_teachers_are_sure() -> None:
    """A lesion of 0.4 above parenchyma of -0.5 of which teachers take off 0.1; nothing else where they doubt."""
    images = torch.full((1, 1, 40, 40), -0.5)
    images[..., :3] = -1.0
    images[:, :, 10:30, 10:30] = -0.1
    healthy = torch.where(images > -0.2, images - 0.1, images)
    sure = torch.zeros_like(images)
    sure[:, :, 10:30, 10:30] = 0.8
    close = 0.002  # parenchyma is mixed with a little of what is usual: `parenchyma_grey`
    inside = LUNGS.full_lesion(images, sure, healthy)[
        :, :, 16:24, 16:24
    ]  # away from its edge, smoothed over 1.5 pixels
    torch.testing.assert_close(inside, torch.full_like(inside, 0.4), rtol=0, atol=close)
    half = LUNGS.full_lesion(images, sure * 0.25 / 0.8, healthy)[:, :, 16:24, 16:24]
    torch.testing.assert_close(half, torch.full_like(half, 0.25), rtol=0, atol=close)
    assert LUNGS.full_lesion(images, sure, healthy)[:, :, :, 34:].abs().max() < 1e-6
    none = LUNGS.full_lesion(images, torch.zeros_like(sure), healthy)
    torch.testing.assert_close(none, images - healthy)
    more = LUNGS.full_lesion(images, sure, healthy - 0.6)[:, :, 16:24, 16:24]  # teachers may take off more
    torch.testing.assert_close(more, torch.full_like(more, 0.7))


def test_healthy_versions_are_learnt_apart_from_the_score() -> None:
    """With a branch, the step of everything else is the same to the bit, and healthy versions are the branch's."""
    healing = msgspec.structs.replace(SETTINGS, healing=HealingSettings())
    without, made, data = method(), method(healing), batch()
    made.network.load_state_dict({**made.network.state_dict(), **without.network.state_dict()})
    torch.manual_seed(1)
    without.step(data, 0)
    torch.manual_seed(1)
    terms = made.step(data, 0)
    assert set(terms) == {"chance", "lesion", "healing"}
    own, plain = made.network.state_dict(), without.network.state_dict()
    for name, weight in plain.items():
        torch.testing.assert_close(own[name], weight)
    with torch.no_grad():
        made.network.branch_head.bias.fill_(0.25)
    found, before = healing.infer(made.network, data.lesion), SETTINGS.infer(without.network, data.lesion)
    torch.testing.assert_close(found.score, before.score)
    (_, here), (_, there) = decompose(made.network, data.lesion), decompose(made.network, data.lesion.flip(3))
    torch.testing.assert_close(found.healthy, data.lesion - ((here.added + there.added.flip(3)) / 2).clip(min=0))
    assert not torch.equal(found.healthy, before.healthy)


def test_the_target_of_the_branch_is_what_was_drawn_and_what_the_chance_of_the_network_takes_off() -> None:
    healing = msgspec.structs.replace(
        SETTINGS,
        healing=HealingSettings(),
        synthetic_lesions=SyntheticLesionSettings(lesions=LesionSettings(slice_fraction=1.0, radius=4.0)),
    )
    made, data = method(healing), batch()
    with torch.no_grad():
        made.network.head.bias[:4] = 2.0  # m is near 0.9 everywhere
    torch.manual_seed(1)
    term = made.step(data, 0)["healing"]
    torch.manual_seed(1)
    drawn = LUNGS.draw(data.normal, data.images, healing.synthetic_lesions)
    added = torch.cat(
        [
            drawn.images - drawn.healthy,
            healing_target(data.lesion, torch.full_like(data.lesion, 0.9), HealingSettings()),
        ]
    )
    lungs = lungs_of(torch.cat([drawn.images, data.lesion]))
    assert term.item() == pytest.approx((added.abs() * lungs).sum().item() / lungs.sum().item(), rel=0.02)


def test_two_ways_to_take_more_off_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"^method.full_lesion_removal: has no effect on healthy versions with "):
        DistilledSettings(full_lesion_removal=True, healing=HealingSettings())


def test_untrained_it_finds_next_to_nothing() -> None:
    reading = SETTINGS.infer(SETTINGS.build_network(), batch().lesion)
    odds = SETTINGS.score_odds * math.exp(-3 * SETTINGS.logit_scale)  # untrained, a chance whose odds are exp(-3)
    torch.testing.assert_close(reading.score[:, :, 1:], torch.full((2, 1, 15, 16), odds / (1 + odds)))
    assert torch.equal(reading.healthy, batch().lesion)


def test_without_teachers_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(DataError, match="the slices have no teacher outputs"):
        method().step(Batch(*batch()[:2]), 0)


def test_it_learns_what_it_is_taught() -> None:
    """The upper half of slices with lesion, which differ from the normal ones by being brighter there."""
    made = method()
    generator = torch.Generator().manual_seed(2)
    normal = torch.rand(4, 1, 16, 16, generator=generator) * 0.1 - 0.5
    lesion = normal.flip(0).clone()
    lesion[:, :, :8] += 0.5
    chance = torch.zeros_like(lesion)
    chance[:, :, :8] = 0.75
    taught = TeacherOutputs(chance, normal.flip(0))
    for number in range(300):
        made.step(Batch(normal, lesion, teacher_outputs=taught), number)
    with torch.no_grad():
        of_lesion, of_normal = (SETTINGS.infer(made.network, images) for images in (lesion, normal))
    odds = SETTINGS.score_odds * 3**SETTINGS.logit_scale  # the chance of 0.75 is 3 to 1
    assert of_lesion.score[:, :, :8].mean().item() == pytest.approx(odds / (1 + odds), abs=0.04)
    assert of_lesion.score[:, :, 8:].mean() < 0.1
    assert of_normal.score.mean() < 0.1
    assert (of_lesion.healthy - taught.healthy).abs().mean() < 0.25 * (lesion - taught.healthy).abs().mean()


@pytest.mark.parametrize(("name", "value"), [("score_odds", 1e9), ("score_odds", 1e-9), ("logit_scale", 1e4)])
def test_a_scale_that_makes_every_score_the_same_is_refused(name: str, value: float) -> None:
    allowed = {"score_odds": ("0.001", "1000"), "logit_scale": ("0.01", "100")}[name]
    with pytest.raises(SettingsError, match=rf"method\.{name}: expected `float` [<>]= ({'|'.join(allowed)})"):
        from_table(RunSettings, {"method": {"name": "distilled", name: value}}, source="a.toml")
