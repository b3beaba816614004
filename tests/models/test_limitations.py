"""What a network is not for, from the card beside its weights."""

from __future__ import annotations

from pathlib import Path

from lesionsplit.models.limitations import UNKNOWN, limits_of


def test_the_card_in_the_package_says_that_it_is_no_medical_device() -> None:
    limits = limits_of(None)
    assert len(limits) >= 5
    assert limits[0] == "Not a medical device; never decide on a patient with it."
    assert not any(mark in limit for limit in limits for mark in ("**", "`", "](", "\n"))


def test_a_card_beside_other_weights_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text(
        "# Mine\n\n* not a limit\n\n## What it is not for\n\n"
        "* Children, see [the\n  log](log.md).\n* **Cats**.\n\n## More\n\n* no\n"
    )
    assert limits_of(tmp_path / "mine.safetensors") == ("Children, see the log.", "Cats.")


def test_weights_without_a_card_have_unknown_limitations(tmp_path: Path) -> None:
    assert limits_of(tmp_path / "mine.safetensors") == UNKNOWN
    (tmp_path / "mine.md").write_text("# Mine\n\n* not a limit\n")
    assert limits_of(tmp_path / "mine.safetensors") == UNKNOWN
