from __future__ import annotations

import pytest
import torch

from lesionsplit.networks.unet import Decoder, Encoder


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_features_halve_in_size_and_follow_the_widths() -> None:
    encoder = Encoder((4, 6, 8), "none")
    shapes = [tuple(f.shape) for f in encoder(torch.zeros(2, 1, 16, 24))]
    assert shapes == [(2, 4, 16, 24), (2, 6, 8, 12), (2, 8, 4, 6)]
    assert encoder.stride == 4


def test_the_decoder_goes_back_to_full_size() -> None:
    encoder, decoder = Encoder((4, 6, 8), "batch"), Decoder((4, 6, 8), "batch", outputs=2)
    assert decoder(encoder(torch.zeros(2, 1, 16, 24))).shape == (2, 2, 16, 24)


def test_parameters_by_hand() -> None:
    """Two levels of 2 and 3 features, without normalisation."""
    encoder = (1 * 2 * 9 + 2) + (2 * 2 * 9 + 2) + (2 * 2 * 4 + 2) + (2 * 3 * 9 + 3) + (3 * 3 * 9 + 3)
    decoder = (3 * 2 * 4 + 2) + (4 * 2 * 9 + 2) + (2 * 2 * 9 + 2) + (2 * 1 + 1)
    assert count(Encoder((2, 3), "none")) == encoder
    assert count(Decoder((2, 3), "none")) == decoder


def test_the_papers_width_is_in_the_tens_of_millions() -> None:
    channels = (64, 128, 256, 512, 1024)
    with torch.device("meta"):
        total = count(Encoder(channels, "batch")) + 2 * count(Decoder(channels, "batch"))
    assert 43e6 < total < 46e6


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_a_slice_is_read_on_its_own(norm: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder((4, 6), norm).eval()  # type: ignore[arg-type]
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(encoder(images)[-1][:1], encoder(images[:1])[-1])


def test_silence_draws_zeros() -> None:
    decoder = Decoder((4, 6), "none")
    decoder.start_from_zero()
    assert (decoder([torch.randn(1, 4, 8, 8), torch.randn(1, 6, 4, 4)]) == 0).all()
