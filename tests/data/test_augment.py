from __future__ import annotations

import pytest
import torch

from lesionsplit.data.augment import Augmentation

STILL = {"flip": False, "rotation": 0.0, "scale": 0.0, "shift": 0.0, "gain": 0.0, "offset": 0.0}


def apply(image: torch.Tensor, seed: int = 0, **changes: object) -> torch.Tensor:
    return Augmentation(**{**STILL, **changes}).apply(image, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]


@pytest.fixture
def blob() -> torch.Tensor:
    """A grey square off the middle, (8, 1, 40, 60)."""
    image = torch.zeros(8, 1, 40, 60)
    image[..., 14:24, 10:30] = 0.5
    return image


def test_off_is_off_to_the_bit(blob: torch.Tensor) -> None:
    assert torch.equal(apply(blob), blob)


def test_a_flip_is_the_mirror_image_of_about_half(blob: torch.Tensor) -> None:
    many = blob[:1].repeat(64, 1, 1, 1)
    flipped = apply(many, flip=True)
    kinds = [
        "kept"
        if torch.allclose(one, many[0], atol=1e-5)
        else "mirrored"
        if torch.allclose(one, many[0].flip(-1), atol=1e-5)
        else "?"
        for one in flipped
    ]
    assert set(kinds) == {"kept", "mirrored"}
    assert 16 < kinds.count("kept") < 48


def test_a_turn_keeps_the_area_on_a_canvas_that_is_not_square(blob: torch.Tensor) -> None:
    turned = apply(blob, rotation=20.0)
    assert not torch.allclose(turned, blob)
    torch.testing.assert_close(turned.sum((1, 2, 3)), blob.sum((1, 2, 3)), rtol=0.01, atol=0.0)


def test_a_shift_moves_the_middle_by_at_most_its_share(blob: torch.Tensor) -> None:
    columns = torch.arange(60.0)

    def middle(image: torch.Tensor) -> torch.Tensor:
        return (image * columns).sum((1, 2, 3)) / image.sum((1, 2, 3))

    moved = (middle(apply(blob, shift=0.1)) - middle(blob)).abs()
    assert moved.max() <= 6.01
    assert moved.max() > 1


def test_grey_changes_leave_black_black(blob: torch.Tensor) -> None:
    changed = apply(blob, gain=0.2, offset=0.1)
    assert (changed[blob == 0] == 0).all()
    assert not torch.allclose(changed, blob)
    assert changed[blob > 0].min() >= 0.5 * 0.8 - 0.1
    assert changed[blob > 0].max() <= 0.5 * 1.2 + 0.1


def test_grey_stays_in_range() -> None:
    bright = torch.full((8, 1, 4, 4), 0.99)
    assert apply(bright, gain=0.3, offset=0.2).max() <= 1


def test_every_slice_is_changed_on_its_own(blob: torch.Tensor) -> None:
    changed = apply(blob, gain=0.2)
    assert len({round(float(one.max()), 5) for one in changed}) == 8


@pytest.mark.parametrize("seed", range(5))
def test_an_outline_moves_with_its_slice_to_the_bit(blob: torch.Tensor, seed: int) -> None:
    moves = {"flip": True, "rotation": 20.0, "scale": 0.2, "shift": 0.1}
    moved = apply(torch.cat([blob, blob], dim=1), seed, **moves)
    assert torch.equal(moved[:, :1], moved[:, 1:])
    assert torch.equal(moved[:, :1], apply(blob, seed, **moves))
    assert not torch.equal(moved[:, :1], blob)


def test_greys_of_one_slice_change_alike(blob: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    both = Augmentation().apply(torch.cat([blob, blob, blob], dim=1), generator, greys=2)
    assert torch.equal(both[:, :1], both[:, 1:2])
    assert not torch.equal(both[:, :1], both[:, 2:])


def test_grey_changes_leave_an_outline_as_it_is(blob: torch.Tensor) -> None:
    changes = {"rotation": 20.0, "gain": 0.2, "offset": 0.1}
    changed = apply(torch.cat([blob, blob], dim=1), **changes)
    assert torch.equal(changed[:, :1], apply(blob, **changes))
    assert torch.equal(changed[:, 1:], apply(blob, rotation=20.0))


def test_with_a_region_there_is_no_black_rim() -> None:
    """A whole image goes on as its mirror image; on the rim of a region grey is that of the part inside."""
    changes = {**STILL, "rotation": 20.0, "shift": 0.2, "scale": 0.2}
    whole = torch.cat([torch.full((8, 1, 40, 60), 0.5), torch.ones(8, 1, 40, 60)], dim=1)
    settings = Augmentation(**changes)  # type: ignore[arg-type]
    moved = settings.apply(whole, torch.Generator().manual_seed(0), 1, with_region=True)
    torch.testing.assert_close(moved, whole)
    part = whole.clone()
    part[..., :13, :] = 0
    moved = settings.apply(part, torch.Generator().manual_seed(0), 1, with_region=True)
    inside = moved[:, 1] > 0.01
    assert ((moved[:, 1] > 0.05) & (moved[:, 1] < 0.95)).sum() > 20
    torch.testing.assert_close(moved[:, 0][inside], torch.full_like(moved[:, 0][inside], 0.5))
