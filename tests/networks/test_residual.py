from __future__ import annotations

import pytest
import torch

from lesionsplit.networks.residual import ResNet, ResNetSettings


def test_it_has_as_many_weights_as_resnet_18() -> None:
    """11 689 512 with three input channels and 1000 classes (He et al. 2016); here it has one of each."""
    weights = sum(weight.numel() for weight in ResNet(ResNetSettings()).parameters())
    assert weights == 11_689_512 - 2 * 64 * 7 * 7 - (512 + 1) * 999


@pytest.mark.parametrize(("stem", "shapes"), [("imagenet", [16, 8, 4, 2]), ("fine", [32, 16, 8, 8])])
def test_stages_halve_the_resolution(stem: str, shapes: list[int]) -> None:
    network = ResNet(ResNetSettings(width=4, stem=stem)).eval()  # type: ignore[arg-type]
    images = torch.rand(2, 1, 64, 96)
    for stage, rows in enumerate(shapes, 1):
        features = network.features(images, stage)  # type: ignore[arg-type]
        assert features.shape == (2, 4 * 2 ** (stage - 1), rows, rows * 3 // 2)
        assert features.min() >= 0
        torch.testing.assert_close(network.classify(features, stage), network(images))  # type: ignore[arg-type]


def test_a_block_adds_what_came_in() -> None:
    network = ResNet(ResNetSettings(width=4)).eval()
    block = network.stages[0][1]
    for weight in block.layers.parameters():
        torch.nn.init.zeros_(weight)
    features = torch.rand(1, 4, 5, 5)
    torch.testing.assert_close(block(features), features)


def test_a_slice_does_not_see_the_others() -> None:
    network = ResNet(ResNetSettings(width=4)).eval()
    images = torch.rand(3, 1, 32, 32)
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]))
