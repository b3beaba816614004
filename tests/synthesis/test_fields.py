from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from lesionsplit.synthesis import fields
from lesionsplit.synthesis.fields import (
    HALF_WEIGHT,
    USUAL,
    blur,
    clouds,
    lung_field,
    lungs_of,
    parenchyma_grey,
    quantile,
    ramp,
    uniform,
)


def lung(batch: int = 1) -> torch.Tensor:
    """A rectangle of lung, grey 0.1, in black, with one dense vessel."""
    images = torch.full((batch, 1, 48, 64), -0.8)
    images[:, :, 8:40, 10:54] = 0.1
    images[:, :, 20:23, 30:33] = 0.9
    return images


def test_blur_is_scipys_where_the_edge_is_far() -> None:
    image = torch.zeros(1, 1, 41, 41)
    image[0, 0, 20, 20] = 1.0
    expected = ndimage.gaussian_filter(image[0, 0].numpy(), 2.0, truncate=3.0)
    np.testing.assert_allclose(blur(image, 2.0)[0, 0].numpy(), expected, atol=1e-6)


def test_clouds_have_the_shape_and_spread_asked_for() -> None:
    torch.manual_seed(0)
    fields = clouds(torch.empty(5, 1, 40, 60), 6)
    assert fields.shape == (5, 1, 40, 60)
    torch.testing.assert_close(fields.std(dim=(2, 3)), torch.ones(5, 1))
    assert not torch.equal(fields[0], fields[1])


def test_coarser_clouds_change_more_slowly() -> None:
    torch.manual_seed(0)
    steps = [clouds(torch.empty(4, 1, 64, 64), grain).diff(dim=3).abs().mean().item() for grain in (3, 12)]
    assert steps[0] > 2 * steps[1]


def test_ramp_is_smooth_between_its_ends() -> None:
    values = torch.tensor([-1.0, 0.0, 0.25, 0.5, 1.0, 2.0])
    torch.testing.assert_close(ramp(values, 0.0, 1.0), torch.tensor([0.0, 0.0, 0.15625, 0.5, 1.0, 1.0]))


def test_uniform_is_one_number_a_slice() -> None:
    torch.manual_seed(0)
    drawn = uniform(torch.empty(1000, 1, 2, 2), 0.2, 0.4)
    assert drawn.shape == (1000, 1, 1, 1)
    assert drawn.min() >= 0.2
    assert drawn.max() <= 0.4
    assert abs(drawn.mean() - 0.3) < 0.01


def test_lungs_are_what_is_not_black() -> None:
    lungs = lungs_of(lung())
    expected = torch.zeros(1, 1, 48, 64)
    expected[:, :, 8:40, 10:54] = 1
    corner = (lungs != expected).sum()
    assert corner <= 4  # smoothing takes the rectangle's corners
    pin_hole = lung()
    pin_hole[0, 0, 30, 20] = -0.8
    assert lungs_of(pin_hole)[0, 0, 30, 20] == 1


def test_a_slice_says_its_own_grey_scale() -> None:
    field = lung_field(lung())
    assert field.parenchyma.item() == np.float32(0.1)
    assert field.dense.item() == np.float32(0.9)


def test_depth_grows_inwards_and_behind_downwards() -> None:
    field = lung_field(lung())
    across = field.depth[0, 0, 24, 10:32]
    assert across[0] < 0.2
    assert (across.diff() >= -1e-6).all()
    assert across[-1] > 0.99
    assert (field.depth[0, 0][field.lungs[0, 0] == 0] == 0).all()
    assert field.behind[0, 0, 8, 0] == 0
    assert field.behind[0, 0, 39, 0] == 1


def test_a_slice_is_studied_on_its_own() -> None:
    other = lung() * 0.5
    both, alone = lung_field(torch.cat([other, lung()])), lung_field(lung())
    for one, two in zip(both, alone, strict=True):
        torch.testing.assert_close(one[1:], two)


def test_an_empty_slice_does_no_harm() -> None:
    assert all(torch.isfinite(part).all() for part in lung_field(torch.full((1, 1, 16, 16), -0.8)))


def mostly_lesion(share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A lung from -0.1 to 0.1 with lesion at 0.5 in its first columns, and where that is; one vessel, black at -0.8."""
    images = torch.full((1, 1, 40, 120), -0.8)
    images[0, 0, 10:30, 10:110] = torch.linspace(-0.1, 0.1, 100).repeat(20, 1)
    lesion = torch.zeros_like(images, dtype=torch.bool)
    lesion[0, 0, 10:30, 10 : 10 + round(100 * share)] = True
    images[lesion] = 0.5
    images[0, 0, 10:30, 109] = 0.9
    return images, lesion


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.7, 0.9])
def test_parenchyma_is_what_is_left_of_it(share: float) -> None:
    images, lesion = mostly_lesion(share)
    field = lung_field(images)
    left = 1 - share
    median = min(np.median(images[0, 0, 10:30, 10:110][~lesion[0, 0, 10:30, 10:110]]), field.parenchyma.item())
    usual = -0.8 + USUAL * (0.9 + 0.8)
    expected = min(median, usual + left / (left + HALF_WEIGHT) * (median - usual))
    assert parenchyma_grey(images, field, ~lesion).item() == pytest.approx(expected, abs=1e-6)
    assert abs(expected - 0.05 * 2 * share) < 0.03  # the median of what is left of -0.1 to 0.1


def test_where_nothing_is_left_parenchyma_is_where_it_usually_is() -> None:
    images, _ = mostly_lesion(0.97)
    found = parenchyma_grey(images, lung_field(images), torch.zeros_like(images, dtype=torch.bool))
    assert found.item() == pytest.approx(-0.8 + USUAL * (0.9 + 0.8), abs=1e-6)


def test_parenchyma_is_never_above_the_median_of_the_whole_lung() -> None:
    """Neither where the densest counts as healthy, nor where the lung is darker than usual."""
    images, lesion = mostly_lesion(0.3)
    field = lung_field(images)
    for healthy in (lesion, torch.ones_like(lesion), torch.zeros_like(lesion)):
        assert parenchyma_grey(images, field, healthy) <= field.parenchyma


def test_parenchyma_follows_the_grey_scale() -> None:
    images, lesion = mostly_lesion(0.8)
    brighter = torch.where(images > -0.8, 0.6 * images + 0.1, 0.6 * -0.8 + 0.1)
    one, other = (parenchyma_grey(image, lung_field(image), ~lesion) for image in (images, brighter))
    torch.testing.assert_close(other, 0.6 * one + 0.1)


def test_parenchyma_of_each_slice_is_its_own() -> None:
    several = [mostly_lesion(share) for share in (0.2, 0.9, 1.0)]
    images, lesion = (torch.cat(part) for part in zip(*several, strict=True))
    together = parenchyma_grey(images, lung_field(images), ~lesion)
    assert together.shape == (3, 1, 1, 1)
    alone = [parenchyma_grey(image, lung_field(image), ~where) for image, where in several]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=0)


def test_parenchyma_of_an_empty_slice_does_no_harm() -> None:
    empty = torch.full((1, 1, 16, 16), -0.8)
    assert torch.isfinite(parenchyma_grey(empty, lung_field(empty), torch.ones_like(empty, dtype=torch.bool))).all()


def test_quantiles_of_few_values_are_torchs_to_the_bit() -> None:
    values = torch.randn(10_007, generator=torch.Generator().manual_seed(0))
    assert torch.equal(quantile(values, 0.995), torch.quantile(values, 0.995))


def test_quantiles_of_many_values_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(40, 301, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(fields, "MAX_QUANTILE_VALUES", 12_000)
    for at in (0.0, 0.3, 0.995, 1.0):
        assert quantile(values, at).item() == np.quantile(values.numpy(), at, method="nearest")


def test_quantiles_go_on_where_torchs_stop() -> None:
    values = torch.arange(fields.MAX_QUANTILE_VALUES + 3, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="too large"):
        torch.quantile(values, 0.5)  # once torch can, ours is not needed
    assert quantile(values, 0.5).item() == fields.MAX_QUANTILE_VALUES / 2 + 1
