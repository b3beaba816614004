"""The residual backbone: what it is, and what does not apply to it."""

import pytest
import torch

from lesionsplit.data.normalise import SPREAD
from lesionsplit.errors import SettingsError
from lesionsplit.methods.bl import BlNet
from lesionsplit.methods.va_gan import VaGanNet
from lesionsplit.networks.decomposition import DecompositionNet, NetworkSettings
from lesionsplit.networks.denoiser import Condition
from lesionsplit.networks.translator import TranslatorSettings, build_translator

RESIDUAL = TranslatorSettings(channels=(4, 6, 8), norm="none", start="identity", backbone="residual")


@pytest.fixture
def images() -> torch.Tensor:
    images = torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images[:, :, :4] = -1
    return images


def test_it_is_the_denoiser_at_level_zero(images: torch.Tensor) -> None:
    network = build_translator(RESIDUAL)
    denoiser = network.get_submodule("denoiser")
    torch.nn.init.normal_(denoiser.head.weight)  # type: ignore[union-attr, arg-type]
    conditions = torch.full((2,), int(Condition.LESION))
    expected = denoiser(images * SPREAD, (images > -1).float(), torch.zeros(2), conditions)
    assert expected.abs().max() > 0
    torch.testing.assert_close(network(images), expected)


def test_untrained_it_changes_nothing(images: torch.Tensor) -> None:
    assert torch.equal(BlNet(RESIDUAL)(images), images)
    assert (VaGanNet(RESIDUAL, "linear")(images) == 0).all()
    settings = NetworkSettings(channels=(4, 6), norm="none", start="identity", backbone="residual", decoders="shared")
    parts = DecompositionNet.build(settings)(images)
    assert torch.equal(parts.healthy, images)
    assert (parts.lesion == 0).all()


def test_the_stride_counts_its_patches() -> None:
    assert RESIDUAL.stride == 8
    with pytest.raises(SettingsError, match=r"12 x 24 pixels; with 3 levels and a patch of 2 both sides .* of 8"):
        build_translator(RESIDUAL)(torch.zeros(1, 1, 12, 24))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "none", "start": "random"}, "set start to identity and norm to none"),
        ({"norm": "batch", "start": "identity"}, "is residual, with start identity and norm batch"),
        ({"norm": "none", "start": "identity"}, "has one decoder; set decoders to shared"),
    ],
)
def test_what_does_not_apply_is_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        NetworkSettings(channels=(4, 6), backbone="residual", **settings)  # type: ignore[arg-type]
