from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from lesionsplit.errors import SettingsError
from lesionsplit.settings import Settings, from_table, read_settings, to_toml


class Inner(Settings, frozen=True):
    colour: Literal["red", "blue"] = "red"
    share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    sizes: tuple[Annotated[int, Meta(ge=1)], ...] = (1, 2)


class Outer(Settings, frozen=True):
    inner: Inner = Inner()
    name: str = "x"


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    assert read_settings(Outer, write(tmp_path, "[inner]\nshare = 0.25\n")) == Outer(inner=Inner(share=0.25))


def test_settings_come_back_from_their_own_toml(tmp_path: Path) -> None:
    settings = Outer(inner=Inner(colour="blue", sizes=(3,)), name="y")
    assert read_settings(Outer, write(tmp_path, to_toml(settings))) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[inner]\ncolor = 'red'", "unknown setting inner.color; allowed here: colour, share, sizes"),
        ("shade = 1", "unknown setting shade; allowed here: inner, name"),
        ("[inner]\ncolour = 'green'", "inner.colour: invalid enum value 'green'; allowed: blue, red"),
        ("[inner]\nshare = 1.5", "inner.share: expected `float` <= 1.0"),
        ("[inner]\nshare = 'a'", "inner.share: expected `float`, got `str`"),
        ("[inner]\nsizes = [1, 0]", "inner.sizes[1]: expected `int` >= 1"),
        ("inner = 3", "inner: expected `object`, got `int`"),
        ("[inner", "is not TOML"),
    ],
)
def test_what_is_not_allowed_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        read_settings(Outer, path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_overrides_win_and_bare_words_are_strings(tmp_path: Path) -> None:
    path = write(tmp_path, "[inner]\nshare = 0.25\n")
    settings = read_settings(Outer, path, ["inner.share=0.75", "inner.colour=blue", 'name="z"', "inner.sizes=[4]"])
    assert settings == Outer(inner=Inner(colour="blue", share=0.75, sizes=(4,)), name="z")


@pytest.mark.parametrize("override", ["inner.share", "=3", "name.first=1"])
def test_an_override_that_is_none_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(SettingsError, match="--set"):
        read_settings(Outer, write(tmp_path, "name = 'x'"), [override])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: cannot be read"):
        read_settings(Outer, tmp_path / "nowhere.toml")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        from_table(Outer, {}, source="here").name = "y"  # type: ignore[misc]
