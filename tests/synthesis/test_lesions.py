from __future__ import annotations

import msgspec
import pytest
import torch

from lesionsplit.synthesis.fields import blur, lung_field
from lesionsplit.synthesis.lesions import LesionSettings, add_decoys, add_synthetic_lesions, draw_extents


@pytest.fixture
def normal() -> torch.Tensor:
    """Slices of noisy lung in black."""
    torch.manual_seed(3)
    images = torch.full((12, 1, 64, 96), -0.8)
    images[:, :, 6:58, 6:90] = 0.05 * torch.randn(12, 1, 52, 84)
    images[:, :, 20:24, 30:34] = 0.9
    return images


ALWAYS = LesionSettings(slice_fraction=1.0)


def test_the_parts_add_up_and_lesions_are_denser_than_lung(normal: torch.Tensor) -> None:
    drawn = add_synthetic_lesions(normal, ALWAYS)
    added = drawn.images - drawn.healthy
    assert (added >= 0).all()
    assert added.max() > 0.1
    assert drawn.images.max() <= 1


def test_nothing_outside_the_lungs_changes(normal: torch.Tensor) -> None:
    drawn = add_synthetic_lesions(normal, ALWAYS)
    outside = drawn.lungs == 0
    assert torch.equal(drawn.images[outside], normal[outside])
    assert (drawn.extent[outside] == 0).all()


def test_the_extent_is_where_something_can_be_seen(normal: torch.Tensor) -> None:
    drawn = add_synthetic_lesions(normal, ALWAYS)
    field = lung_field(normal)
    added = drawn.images - drawn.healthy
    assert set(drawn.extent.unique().tolist()) == {0.0, 1.0}
    seen = blur(added, 1.0) / (field.dense - field.parenchyma)
    assert seen[drawn.extent == 1].min() > ALWAYS.min_contrast
    assert (added * drawn.extent).sum() > 0.7 * added.sum()


def test_a_share_of_the_slices_stays_as_it_is(normal: torch.Tensor) -> None:
    none = add_synthetic_lesions(normal, LesionSettings(slice_fraction=0.0, decoy_fraction=0.0))
    assert torch.equal(none.images, normal)
    assert torch.equal(none.healthy, normal)
    assert none.extent.sum() == 0
    torch.manual_seed(0)
    many = normal.repeat(20, 1, 1, 1)
    with_some = draw_extents(many, lung_field(many), LesionSettings(slice_fraction=0.5))[0].amax(dim=(1, 2, 3)) > 0
    assert 0.4 < with_some.float().mean() < 0.6


def test_the_same_seed_draws_the_same(normal: torch.Tensor) -> None:
    torch.manual_seed(5)
    first = add_synthetic_lesions(normal, ALWAYS)
    torch.manual_seed(5)
    second = add_synthetic_lesions(normal, ALWAYS)
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_larger_and_denser_when_asked_for(normal: torch.Tensor) -> None:
    def drawn(**change: float) -> tuple[float, float]:
        torch.manual_seed(1)
        extent, opacity = draw_extents(
            normal, lung_field(normal), msgspec.structs.replace(ALWAYS, max_count=3, **change)
        )
        return extent.mean().item(), (opacity.sum() / extent.sum()).item()

    small, faint = drawn(radius=4.0, opacity_skew=3.0)
    large, dense = drawn(radius=12.0, opacity_skew=0.5)
    assert large > 2 * small
    assert dense > faint + 0.1


def test_the_noise_of_the_slice_is_kept(normal: torch.Tensor) -> None:
    """What is drawn depends on the smoothed slice alone, so that noise does not stop at a lesion's edge."""
    torch.manual_seed(2)
    drawn = add_synthetic_lesions(normal, LesionSettings(slice_fraction=1.0, decoy_fraction=0.0, min_opacity=0.9))
    inside = (drawn.extent * drawn.lungs) == 1
    inside &= (normal < 0.5) & (drawn.images < 0.99)
    grainy = lambda image: (image - blur(image, 1.0))[inside].std()  # noqa: E731
    assert grainy(drawn.images) > 0.9 * grainy(normal)


def test_decoys_are_dense_and_no_lesion(normal: torch.Tensor) -> None:
    torch.manual_seed(0)
    field = lung_field(normal)
    changed = add_decoys(normal, field, LesionSettings(decoy_fraction=1.0))
    assert (changed >= normal - 1e-6).all()
    assert (changed - normal).max() > 0.1
    drawn = add_synthetic_lesions(normal, LesionSettings(slice_fraction=0.0, decoy_fraction=1.0))
    assert torch.equal(drawn.images, drawn.healthy)
    assert drawn.extent.sum() == 0
