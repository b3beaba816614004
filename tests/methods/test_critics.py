from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor, nn

from lesionsplit.data.normalise import SPREAD
from lesionsplit.errors import SettingsError
from lesionsplit.losses import Terms
from lesionsplit.methods import critics
from lesionsplit.methods.critics import (
    SIZE,
    DirectionCritic,
    PatchSettings,
    PatchwiseCritic,
    ScoreCritic,
    ScoreCriticSettings,
    View,
    WassersteinCritic,
    WassersteinSettings,
    build_critic,
)
from lesionsplit.networks.critic import CriticSettings, PatchCriticSettings
from lesionsplit.networks.denoiser import Condition, Denoiser, DenoiserSettings, noised
from lesionsplit.settings import from_table
from lesionsplit.training.run import RunSettings

NETWORK = DenoiserSettings(channels=(8, 12), embedding=8)
LUNGS = torch.zeros(2, 1, 16, 16)
LUNGS[:, :, 4:12, 2:14] = 1.0


def slices(seed: int = 0) -> Tensor:
    made = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) - 0.5
    return torch.where(LUNGS > 0, made, -1.0)


class Fixed(DirectionCritic):
    """A critic with one answer."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _normal: View, _healed: View) -> Terms:
        return {}

    def towards_normal(self, _healed: View) -> Tensor:
        return self.answer


def test_a_direction_has_a_fixed_size_in_the_lungs_and_is_nothing_outside() -> None:
    answer = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    critic, view = Fixed(answer), View(slices(), LUNGS)
    first = critic.direction(view)
    inside = answer.numpy()[LUNGS.numpy() > 0]
    size = np.quantile(np.abs(inside), 0.95)
    np.testing.assert_allclose(first.numpy(), answer.numpy() * LUNGS.numpy() * (2 / size), rtol=1e-5)
    critic.answer = 3 * answer  # the size is a running mean, so that a sudden change is not hidden at once
    second = critic.direction(view)
    average = 0.95 * size + 0.05 * 3 * size
    np.testing.assert_allclose(second.numpy(), 3 * answer.numpy() * LUNGS.numpy() * (2 / average), rtol=1e-5)
    assert list(dict(critic.named_buffers())) == ["size"]  # a continued run needs it


def test_a_direction_without_lungs_or_without_change_is_zero() -> None:
    nothing = torch.zeros(2, 1, 16, 16)
    assert not Fixed(torch.ones(2, 1, 16, 16)).direction(View(slices(), nothing)).any()
    assert not Fixed(nothing).direction(View(slices(), LUNGS)).any()
    almost = torch.zeros(2, 1, 16, 16)
    almost[0, 0, 5, 5] = 3.0
    assert Fixed(almost).direction(View(slices(), LUNGS)).isfinite().all()


def score(levels: tuple[float, float] = (0.5, 0.5), **settings: int) -> ScoreCritic:
    torch.manual_seed(0)
    critic = ScoreCritic(ScoreCriticSettings(levels=levels, **settings), NETWORK, colour=0.0)
    nn.init.normal_(critic.denoiser.head.weight, std=0.2)
    return critic


def test_the_score_critic_begins_as_the_pretrained_network_and_healed_as_unlabelled() -> None:
    critic, pretrained = score(), Denoiser(NETWORK, outputs=3, conditions=4)
    critic.start_from(pretrained)
    for name, value in critic.denoiser.state_dict().items():
        expected = pretrained.state_dict()[name].clone()
        if name == "condition.weight":
            expected[Condition.HEALED] = expected[Condition.NONE]
        assert torch.equal(value, expected), name


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_the_direction_is_the_difference_of_two_estimates_of_the_slice(draws: int) -> None:
    """At level 0.5, estimates of the slice differ by sin(pi / 4) times the difference of v."""
    critic, healed = score(draws=draws), slices()
    torch.manual_seed(3)
    found = critic.towards_normal(View(healed, LUNGS))
    torch.manual_seed(3)
    expected, count = torch.zeros_like(healed), len(healed)
    level = torch.full((count,), 0.5)
    for number in range(draws):
        if number % 2 == 0:
            noise = torch.randn_like(healed)
            torch.rand(count)  # the level
        noisy = noised(healed * SPREAD, noise * (1 if number % 2 == 0 else -1), 0.5)
        as_healed, as_normal = (
            critic.denoiser(noisy, LUNGS, level, torch.full((count,), int(one)))[:, 2:]
            for one in (Condition.HEALED, Condition.NORMAL)
        )
        expected += math.sin(math.pi / 4) * (as_healed - as_normal)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)
    assert found.abs().max() > 0.01


def test_the_score_critic_learns_slices_and_healthy_versions_under_their_conditions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Tensor, list[int]]] = []

    def loss(denoiser: nn.Module, view: View, conditions: Tensor, colour: float) -> Tensor:
        asked.append((view.images, conditions.tolist()))
        return torch.tensor(1.5)

    monkeypatch.setattr(critics, "denoising_loss", loss)
    terms = score()(View(slices(0), LUNGS), View(slices(1), LUNGS))
    assert terms == {"critic": torch.tensor(1.5)}
    assert torch.equal(asked[0][0], torch.cat([slices(0), slices(1)]))
    assert asked[0][1] == [Condition.NORMAL] * 2 + [Condition.HEALED] * 2


def test_what_it_learns_draws_the_estimates_apart() -> None:
    """Trained on dark slices as normal and on bright ones as healthy versions, it asks bright ones to be darker."""
    critic = score(levels=(0.3, 0.8))
    optimizer = torch.optim.Adam(critic.parameters(), 2e-3)
    torch.manual_seed(0)
    dark, bright = (View(torch.where(LUNGS > 0, grey, -1.0), LUNGS) for grey in (-0.2, 0.2))
    for _ in range(150):
        optimizer.zero_grad()
        critic(dark, bright)["critic"].backward()
        optimizer.step()
    change = critic.towards_normal(bright)[LUNGS > 0]
    assert change.mean() < -0.3
    assert (change < 0).float().mean() > 0.9


def patch(noise: float) -> PatchwiseCritic:
    torch.manual_seed(0)
    return PatchwiseCritic(PatchSettings(network=PatchCriticSettings(channels=(3, 4, 5)), noise=noise))


def test_the_patch_critic_is_a_logistic_regression_over_the_lungs() -> None:
    critic, normal, healed = patch(0.0), View(slices(0), LUNGS), View(slices(1), LUNGS)
    terms = critic(normal, healed)
    ratings = torch.cat([critic.critic(one.images * SPREAD, LUNGS) for one in (normal, healed)])
    chance = ratings.detach().sigmoid().numpy().ravel()
    truth = np.repeat([1, 0], len(chance) // 2)
    weight = np.tile(LUNGS.reshape(2, 4, 4, 4, 4).mean((2, 4)).numpy().ravel(), 2)
    expected = log_loss(truth, np.stack([1 - chance, chance], axis=1), sample_weight=weight)
    assert terms["critic"].item() == pytest.approx(expected, rel=1e-5)


def test_patches_are_noised() -> None:
    critic, view = patch(0.7), View(slices(), LUNGS)
    torch.manual_seed(5)
    found = critic(view, view)["critic"]
    torch.manual_seed(5)
    noisy = [view.images * SPREAD + 0.7 * torch.randn_like(view.images) for _ in range(2)]
    critic.noise = 0.0
    expected = critic(*(View(one / SPREAD, LUNGS) for one in noisy))["critic"]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["patch", "wasserstein"])
def test_the_direction_of_a_rating_is_its_gradient(kind: str) -> None:
    """Against finite differences in double precision."""
    rate: Callable[[Tensor], Tensor]
    if kind == "patch":
        patches = patch(0.0).double()
        critic: DirectionCritic = patches
        weight = LUNGS.reshape(2, 1, 4, 4, 4, 4).mean((3, 5)).double()

        def rate(images: Tensor) -> Tensor:
            chance = patches.critic(images * SPREAD, LUNGS.double()).sigmoid().log()
            return (chance * weight).sum() / weight.sum()
    else:
        whole = WassersteinCritic(WassersteinSettings(network=CriticSettings(channels=(2, 3, 4, 5)))).double()
        critic = whole

        def rate(images: Tensor) -> Tensor:
            return whole.loss.critic(images).sum()

    images = slices().double()
    found = critic.towards_normal(View(images, LUNGS.double()))
    for row, column in ((5, 3), (8, 9), (11, 13)):
        step = torch.zeros_like(images)
        step[1, 0, row, column] = 1e-5
        with torch.no_grad():
            slope = (rate(images + step) - rate(images - step)) / 2e-5
        assert found[1, 0, row, column].item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-9)


def test_the_wasserstein_critic_has_the_terms_of_equation_3() -> None:
    torch.manual_seed(0)
    critic = WassersteinCritic(WassersteinSettings(network=CriticSettings(channels=(2, 3, 4, 5)), penalty=7.0))
    normal, healed = View(slices(0), LUNGS), View(slices(1), LUNGS)
    torch.manual_seed(1)
    terms = critic(normal, healed)
    torch.manual_seed(1)
    expected = critic.loss(normal.images, healed.images)
    assert terms["critic"].item() == pytest.approx(expected["critic"].item())
    assert terms["penalty"].item() == pytest.approx(7 * expected["penalty"].item())


@pytest.mark.parametrize(
    ("name", "kind"), [("score", ScoreCritic), ("patch", PatchwiseCritic), ("wasserstein", WassersteinCritic)]
)
def test_a_critic_is_chosen_by_name(name: str, kind: type[DirectionCritic]) -> None:
    settings = from_table(RunSettings, {"method": {"name": "separation", "critic": {"name": name}}}, source="x").method
    assert type(build_critic(settings.critic, NETWORK, 1.0)) is kind  # type: ignore[union-attr]


@pytest.mark.parametrize("levels", [(0.0, 0.5), (0.6, 0.5)], ids=["zero", "backwards"])
def test_levels_have_an_order(levels: tuple[float, float]) -> None:
    with pytest.raises(SettingsError, match=r"^method.critic.levels: are .*; allowed: above 0, the lower one first$"):
        ScoreCriticSettings(levels=levels)


def test_the_size_is_that_of_the_documentation() -> None:
    assert SIZE == 2.0
