from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from lesionsplit.domains.lungs import LUNGS
from lesionsplit.errors import SettingsError
from lesionsplit.networks.lesion_unet import INITIAL_LOGIT, LesionUNet, LesionUNetSettings, opening


def build(**settings: object) -> LesionUNet:
    return LesionUNet(LesionUNetSettings(channels=(4, 6, 8), **settings))  # type: ignore[arg-type]


def test_an_untrained_network_finds_nothing() -> None:
    parts = build()(torch.randn(2, 1, 16, 24))
    torch.testing.assert_close(parts.probability, torch.full((2, 1, 16, 24), INITIAL_LOGIT).sigmoid())
    assert (parts.added == 0).all()


def test_with_mirror_is_the_mean_of_both() -> None:
    torch.manual_seed(0)
    network, image = build(), torch.randn(2, 1, 16, 24)
    torch.nn.init.normal_(network.decoder.head.weight)
    here, there = network(image), network(image.flip(3))
    parts = network.with_mirror(image, LUNGS.lesion_part)
    torch.testing.assert_close(parts.logit, (here.logit + there.logit.flip(3)) / 2)
    torch.testing.assert_close(parts.added, (here.added.clip(min=0) + there.added.flip(3).clip(min=0)) / 2)
    assert (parts.added != (here.added + there.added.flip(3)) / 2).any()  # where only one of them is below 0


@pytest.mark.parametrize("size", [3, 5, 9])
def test_the_opening_is_scipys(size: int) -> None:
    image = torch.rand(2, 1, 20, 27)
    inside = slice(size, -size)  # they treat the frame's edge differently
    for one, opened in zip(image[:, 0].numpy(), opening(image, size)[:, 0].numpy(), strict=True):
        np.testing.assert_array_equal(
            opened[inside, inside], ndimage.grey_opening(one, size=(size, size))[inside, inside]
        )


def test_a_slice_is_read_on_its_own() -> None:
    torch.manual_seed(0)
    network = build().eval()
    torch.nn.init.normal_(network.decoder.head.weight)
    images = torch.randn(3, 1, 16, 24)
    torch.testing.assert_close(network(images).logit[:1], network(images[:1]).logit)


def test_no_opening_is_allowed() -> None:
    assert build(openings=())(torch.randn(1, 1, 8, 8)).logit.shape == (1, 1, 8, 8)


def test_sides_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(SettingsError, match="18 x 24 pixels; with 3 levels both sides must be multiples of 4"):
        build()(torch.zeros(1, 1, 18, 24))
