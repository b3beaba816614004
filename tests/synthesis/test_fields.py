from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from lesionsplit.synthesis.fields import blur, clouds, lungs_of, ramp, study, uniform


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
    field = study(lung())
    assert field.parenchyma.item() == np.float32(0.1)
    assert field.dense.item() == np.float32(0.9)


def test_depth_grows_inwards_and_behind_downwards() -> None:
    field = study(lung())
    across = field.depth[0, 0, 24, 10:32]
    assert across[0] < 0.2
    assert (across.diff() >= -1e-6).all()
    assert across[-1] > 0.99
    assert (field.depth[0, 0][field.lungs[0, 0] == 0] == 0).all()
    assert field.behind[0, 0, 8, 0] == 0
    assert field.behind[0, 0, 39, 0] == 1


def test_a_slice_is_studied_on_its_own() -> None:
    other = lung() * 0.5
    both, alone = study(torch.cat([other, lung()])), study(lung())
    for one, two in zip(both, alone, strict=True):
        torch.testing.assert_close(one[1:], two)


def test_an_empty_slice_does_no_harm() -> None:
    assert all(torch.isfinite(part).all() for part in study(torch.full((1, 1, 16, 16), -0.8)))
