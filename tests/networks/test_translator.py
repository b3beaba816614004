from __future__ import annotations

import pytest
import torch

from lesionsplit.errors import SettingsError
from lesionsplit.networks.translator import Translator, TranslatorSettings


def build(**settings: object) -> Translator:
    torch.manual_seed(0)
    return Translator(TranslatorSettings(channels=(4, 6, 8), **settings))  # type: ignore[arg-type]


def test_one_image_of_the_same_size_not_bounded() -> None:
    network = build(norm="none")
    torch.nn.init.constant_(network.decoder.head.bias, 7.0)  # type: ignore[arg-type]
    drawn = network(torch.randn(2, 1, 16, 24))
    assert drawn.shape == (2, 1, 16, 24)
    assert drawn.min() > 1


def test_identity_draws_nothing_until_trained_and_random_something() -> None:
    images = torch.randn(2, 1, 16, 24)
    assert (build(start="identity")(images) == 0).all()
    assert build(start="random")(images).abs().min() > 0


def test_from_identity_there_is_a_way_to_go() -> None:
    network = build(start="identity")
    network(torch.randn(2, 1, 16, 24)).mean().backward()
    assert network.decoder.head.weight.grad.abs().max() > 0  # type: ignore[union-attr, operator]


def test_trained_it_reads_a_slice_on_its_own() -> None:
    network = build()
    for _ in range(3):
        network(torch.randn(4, 1, 16, 24))  # its batch norm sees some
    network.eval()
    images = torch.randn(3, 1, 16, 24)
    torch.testing.assert_close(network(images)[:1], network(images[:1]))


def test_sides_must_be_multiples_of_the_stride() -> None:
    assert TranslatorSettings(channels=(4, 6, 8)).stride == 4
    with pytest.raises(SettingsError, match="is 16 x 18 pixels; with 3 levels both sides must be multiples of 4"):
        build()(torch.zeros(1, 1, 16, 18))
