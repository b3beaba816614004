"""The pieces of the objective against values worked out by hand, and against other implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from lesionsplit.losses import (
    CriticLoss,
    detached,
    edge_weight,
    gradient_penalty,
    masked_mean,
    overlap_loss,
    weighted_sum,
)


class Linear(nn.Module):
    """A critic whose slope is known: the same weights everywhere."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image * self.weights).sum((1, 2, 3))


@pytest.mark.parametrize("norm", [0.0, 0.5, 1.0, 3.0])
def test_the_penalty_of_a_linear_critic_is_its_norm_less_one_squared(norm: float) -> None:
    weights = torch.randn(1, 6, 7, generator=torch.Generator().manual_seed(0))
    critic = Linear(weights / weights.norm() * norm)
    real, fake = torch.randn(2, 4, 1, 6, 7)
    assert gradient_penalty(critic, real, fake).item() == pytest.approx((norm - 1) ** 2, abs=1e-5)


def test_the_norm_is_over_the_whole_image_and_not_over_one_axis() -> None:
    critic = Linear(torch.full((1, 4, 4), 0.25))  # norm 1 over 16 pixels; 0.5 over a row of 4
    assert gradient_penalty(critic, torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)).item() == pytest.approx(0.0)


def test_the_penalty_is_taken_between_real_and_fake() -> None:
    """A critic x^2 / 2 per pixel has slope x, so the penalty tells where it was taken."""

    def critic(image: torch.Tensor) -> torch.Tensor:
        return image.square().sum((1, 2, 3)) / 2

    torch.manual_seed(3)
    mix = torch.rand(5, 1, 1, 1)
    torch.manual_seed(3)
    penalty = gradient_penalty(critic, torch.full((5, 1, 1, 1), 2.0), torch.full((5, 1, 1, 1), 4.0))
    assert penalty.item() == pytest.approx((4 - 2 * mix - 1).square().mean().item(), rel=1e-6)


def test_the_penalty_trains_the_critic() -> None:
    critic = Linear(torch.full((1, 2, 2), 2.0))  # norm 4
    gradient_penalty(critic, torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).backward()
    # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w| = 2 * 3 * 0.5
    torch.testing.assert_close(critic.weights.grad, torch.full((1, 2, 2), 3.0))


def test_the_critics_loss_is_equation_3() -> None:
    critic = Linear(torch.full((1, 2, 2), 0.5))  # norm 1: no penalty
    real = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)  # D = 2 and 6
    fake = torch.tensor([0.0, 1.0, 2.0, 9.0]).view(4, 1, 1, 1).expand(4, 1, 2, 2)  # D = 0, 2, 4 and 18
    terms = CriticLoss(critic)(real, fake)
    assert terms["critic"].item() == pytest.approx(6 - 4)  # mean D(fake) - mean D(real)
    assert terms["penalty"].item() == pytest.approx(0, abs=1e-6)


def test_a_step_on_the_critics_loss_raises_the_rating_of_real_and_lowers_that_of_fake_images() -> None:
    critic = Linear(torch.zeros(1, 2, 2))
    real, fake = torch.full((3, 1, 2, 2), 0.5), torch.full((3, 1, 2, 2), -0.25)
    CriticLoss(critic)(real, fake)["critic"].backward()
    torch.optim.SGD(critic.parameters(), lr=0.1).step()
    # d/dw (D(fake) - D(real)) = fake - real = -0.75 for each of four pixels
    torch.testing.assert_close(critic(real), torch.full((3,), 4 * 0.1 * 0.75 * 0.5))
    torch.testing.assert_close(critic(fake), torch.full((3,), -4 * 0.1 * 0.75 * 0.25))


def test_the_critics_loss_is_in_float32_under_autocast() -> None:
    critic = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 4 * 4, 1), nn.Flatten(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = CriticLoss(critic)(torch.randn(2, 1, 6, 6), torch.randn(2, 1, 6, 6).bfloat16())
    assert {term.dtype for term in terms.values()} == {torch.float32}


def test_edge_weight_is_one_on_flat_and_four_on_a_step_of_one() -> None:
    image = torch.zeros(1, 1, 5, 6)
    image[..., 3:] = 1.0
    expected = torch.ones(5, 6)
    expected[:, 2:4] = 4.0
    torch.testing.assert_close(edge_weight(image)[0, 0], expected)


def test_edge_weight_is_scipys_sobel() -> None:
    image = np.random.default_rng(0).random((9, 11))  # float64: the kernel takes the image's type
    gradient = np.hypot(*(ndimage.sobel(image, axis, mode="nearest") / 4 for axis in (0, 1)))
    weight = edge_weight(torch.from_numpy(image)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(weight, (1 + gradient) ** 2, rtol=1e-5)


def test_the_sum_weighs_each_term_by_its_name() -> None:
    terms = {"a": torch.tensor(2.0), "b": torch.tensor(5.0)}
    assert weighted_sum(terms, {"a": 0.5, "b": 3.0, "c": 7.0}).item() == 16.0
    with pytest.raises(KeyError):
        weighted_sum(terms, {"a": 1.0})


def test_detached_terms_keep_their_values() -> None:
    weight = torch.tensor(2.0, requires_grad=True)
    ((name, term),) = detached({"a": 3 * weight}).items()
    assert (name, term.item(), term.requires_grad) == ("a", 6.0, False)


def test_the_mean_over_a_mask() -> None:
    values = torch.tensor([[[[1.0, 2.0, 6.0, 9.0]]]])
    assert masked_mean(values, torch.tensor([[[[0.0, 1.0, 1.0, 0.0]]]])).item() == 4.0
    assert masked_mean(values, torch.tensor([[[[0.0, 0.0, 0.0, 1.0]]]])).item() == 9.0
    assert masked_mean(values, torch.zeros(1, 1, 1, 4)).item() == 0.0


def test_the_overlap_loss_is_one_minus_the_soft_dice_with_one_pixel_added() -> None:
    truth = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    probability = torch.tensor([[[[0.5, 1.0, 0.5, 0.0]]]])
    assert overlap_loss(probability, truth).item() == pytest.approx(1 - (2 * 1.5 + 1) / (2 + 2 + 1))
    assert overlap_loss(torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 1, 4)).item() == 0.0


def test_overlap_is_exact_where_three_pixels_are_found_and_one_is_true() -> None:
    found = overlap_loss(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1.0, 0.0, 0.0]))
    assert found.item() == pytest.approx(1 - 3 / 5)
