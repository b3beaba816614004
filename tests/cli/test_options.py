from __future__ import annotations

import click
import pytest

from lesionsplit.cli.options import Number


@pytest.mark.parametrize("given", ["nan", "NaN", "inf", "-inf", "1e999"])
def test_a_number_is_finite(given: str) -> None:
    """NaN passes click's own range: every comparison with it is false."""
    with pytest.raises(click.BadParameter):
        Number(min=0, min_open=True).convert(given, None, None)
    with pytest.raises(click.BadParameter, match="is not a finite number"):
        Number().convert(given, None, None)


def test_a_number_in_its_range_is_itself() -> None:
    assert Number(min=0, min_open=True, max=1).convert("3e-3", None, None) == 3e-3
    for given in ("0", "-1", "1.5", "x"):
        with pytest.raises(click.BadParameter):
            Number(min=0, min_open=True, max=1).convert(given, None, None)
