from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from lesionsplit.errors import SettingsError
from lesionsplit.settings import Count, Positive, Settings, Width, from_table, parse_json, read_settings, to_toml


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


class Numbers(Settings, frozen=True):
    positive: Positive = 1.0
    count: Count = 1
    width: Width = 1
    pair: tuple[float, float] = (0.0, 1.0)
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("positive = inf", "positive is inf; allowed: finite numbers"),
        ("positive = nan", "positive is nan; allowed: finite numbers"),
        ("pair = [-inf, 1.0]", "pair[0] is -inf; allowed: finite numbers"),
        ("[inner]\nshare = nan", "inner.share is nan; allowed: finite numbers"),
        ("positive = 1e300", "positive: expected `float` <= 1000000000.0"),
        ("count = 5000000000", "count: expected `int` <= 4294967295"),
        ("width = 200000", "width: expected `int` <= 4096"),
        (f"positive = 1{400 * '0'}", "positive: number out of range"),
        (f"count = 1{5000 * '0'}", "is not TOML: "),
        (f"count = {5000 * '['}{5000 * ']'}", "is not TOML: "),
    ],
)
def test_numbers_are_finite_and_of_a_sensible_size(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        read_settings(Numbers, path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_an_override_is_finite(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    for given in ("nan", "inf", "-inf", "1e999"):
        with pytest.raises(SettingsError, match=r"positive is -?(nan|inf); allowed: finite numbers"):
            read_settings(Numbers, path, [f"positive={given}"])


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(SettingsError, match="is not TOML: 'utf-8' codec can't decode"):
        read_settings(Outer, tmp_path / "settings.toml")


def test_json_is_an_object_and_not_endless() -> None:
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    for text in ("", "[]", "3", '{"a"', 99999 * '{"a":', b"\xff\xfe\x00", f'{{"a": 1{5000 * "0"}}}'):
        with pytest.raises(ValueError, match=r"."):
            parse_json(text)
