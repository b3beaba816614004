from __future__ import annotations

import pytest
import torch
from torch import nn

from lesionsplit.errors import SettingsError
from lesionsplit.networks.critic import Critic, CriticSettings


def build(norm: str = "none") -> Critic:
    torch.manual_seed(0)
    return Critic(CriticSettings(channels=(2, 3, 4, 5), norm=norm))  # type: ignore[arg-type]


def test_seven_convolutions_of_which_the_first_four_down_sample() -> None:
    strides = [m.stride[0] for m in build().modules() if isinstance(m, nn.Conv2d)]
    assert strides == [2, 2, 2, 2, 1, 1, 1]


def test_three_scales_are_pooled_and_weighed_by_one_linear_layer() -> None:
    critic = build()
    assert critic.score.in_features == 3 + 4 + 5
    assert critic(torch.zeros(6, 1, 32, 48)).shape == (6,)


def test_the_rating_is_worked_out_step_by_step() -> None:
    critic, image = build(), torch.randn(2, 1, 32, 32)
    rating = critic.score.bias.clone().expand(2)
    features, start = critic.stem(image), 0
    for down, scale, width in zip(critic.downs, critic.scales, (3, 4, 5), strict=True):
        features = down(features)
        weights = critic.score.weight[0, start : start + width]
        rating = rating + (scale(features).mean((2, 3)) * weights).sum(1)
        start += width
    torch.testing.assert_close(critic(image), rating)


@pytest.mark.parametrize("norm", ["none", "instance", "layer"])
def test_a_slice_is_rated_on_its_own(norm: str) -> None:
    critic, images = build(norm).train(), torch.randn(4, 1, 32, 32)
    torch.testing.assert_close(critic(images)[:1], critic(images[:1]))


def test_batch_norm_is_refused_with_the_reason() -> None:
    with pytest.raises(SettingsError, match="the gradient penalty is per slice"):
        CriticSettings(norm="batch")
