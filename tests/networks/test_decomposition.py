from __future__ import annotations

import pytest
import torch

from lesionsplit.errors import SettingsError
from lesionsplit.networks.decomposition import Decomposition, DecompositionNet, NetworkSettings


def build(**settings: object) -> DecompositionNet:
    torch.manual_seed(0)
    return DecompositionNet.build(NetworkSettings(channels=(4, 6, 8), norm="none", **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("decoders", ["separate", "shared"])
@pytest.mark.parametrize("start", ["random", "identity"])
def test_both_parts_have_the_images_shape_and_range(decoders: str, start: str) -> None:
    parts = build(decoders=decoders, start=start)(torch.randn(2, 1, 16, 24).clip(-1, 1))
    for part in parts:
        assert part.shape == (2, 1, 16, 24)
        assert part.abs().max() <= 1


def test_the_whole_is_the_sum() -> None:
    parts = Decomposition(torch.tensor([0.25]), torch.tensor([0.5]))
    assert parts.whole.item() == 0.75


def test_separate_decoders_share_nothing_and_one_encoder() -> None:
    network = build(decoders="separate")
    image = torch.randn(1, 1, 8, 8)
    network(image).healthy.sum().backward()
    lesion = list(network.decoders["lesion"].parameters())
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in lesion)
    assert all(parameter.grad is not None for parameter in network.encoder.parameters())


def test_shared_decoders_differ_in_the_last_convolution_only() -> None:
    network = build(decoders="shared")
    image = torch.randn(1, 1, 8, 8)
    network(image).healthy.sum().backward()
    (decoder,) = network.decoders.values()
    head = decoder.head.weight.grad  # type: ignore[union-attr]
    assert head[0].any()
    assert not head[1].any()
    others = [p for name, p in decoder.named_parameters() if not name.startswith("head")]
    assert all(p.grad is not None for p in others)


def test_an_untrained_network_of_identity_says_all_healthy() -> None:
    image = torch.rand(2, 1, 8, 8) * 2 - 1
    parts = build(start="identity")(image)
    assert torch.equal(parts.healthy, image)
    assert (parts.lesion == 0).all()


def test_identity_can_take_a_saturated_lesion_away() -> None:
    """Also where the slice is at the end of the range there is a slope to follow."""
    network = build(start="identity")
    network(torch.ones(1, 1, 8, 8)).healthy.mean().backward()
    assert network.decoders["healthy"].head.bias.grad.abs().item() > 0.5  # type: ignore[union-attr, operator]


def test_sides_must_be_multiples_of_the_stride() -> None:
    with pytest.raises(SettingsError, match="is 16 x 18 pixels; with 3 levels both sides must be multiples of 4"):
        build()(torch.zeros(1, 1, 16, 18))
