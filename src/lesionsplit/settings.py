"""Settings: strict typed tables, read from TOML.

Each part's settings live beside the part; this file knows only how to read and write them.
An unknown key, a wrong type or a value out of range is a `SettingsError`, never ignored.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec
import tomli_w

from lesionsplit.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of settings: immutable, keyword-only, checked when it is read."""


S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S], path: Path, overrides: Iterable[str] = ()) -> S:
    """Read a TOML file as settings of ``kind``; ``overrides`` are ``table.key=value`` with TOML values.

    Raises:
        SettingsError: the file cannot be read or is not TOML, or a setting is unknown or not allowed.
    """
    table = read_toml(path)
    for override in overrides:
        _override(table, override)
    return from_table(kind, table, source=str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as plain nested tables.

    Raises:
        SettingsError: the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); give a settings file (.toml)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from None


def from_table(kind: type[S], table: Mapping[str, Any], *, source: str) -> S:
    """Check ``table`` and make settings of ``kind`` from it.

    Raises:
        SettingsError: a setting is unknown, of the wrong type or out of range; ``source`` says where.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source}: {_explain(kind, table, str(error))}") from None


def to_table(settings: Settings) -> dict[str, Any]:
    """Settings as plain nested tables, every default written out."""
    table: dict[str, Any] = msgspec.to_builtins(settings)
    return table


def to_toml(settings: Settings) -> str:
    """Settings as TOML, every default written out."""
    return tomli_w.dumps(_without_none(to_table(settings)))


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    """Drop what is not set, which TOML cannot say."""
    plain = {key: _without_none(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in plain.items() if value is not None}


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *tables, name = key.strip().split(".")
    if not equals or not name:
        raise SettingsError(f"--set {override}: is not of the form table.key=value, as in training.steps=500")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is meant as a string
    for part in tables:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SettingsError(f"--set {override}: {part} is a value, not a table")
    table[name] = value


def _explain(kind: type[Settings], table: Mapping[str, Any], message: str) -> str:
    """Turn msgspec's account of an error into one that names the setting and lists what is allowed."""
    problem, _, path = message.partition(" - at `$")
    place = path.strip("`").lstrip(".")
    if problem.startswith("Object contains unknown field"):
        unknown = problem.split("`")[1]
        allowed = _table_at(kind, table, place).__struct_fields__
        return f"unknown setting {'.'.join(filter(None, (place, unknown)))}; allowed here: {', '.join(allowed)}"
    if problem.startswith("Object missing required field"):
        place = ".".join(filter(None, (place, problem.split("`")[1])))
        problem = "is missing"
    *tables, name = place.split(".")
    choices = _choices(_kinds(kind, table, ".".join(tables)), name.partition("[")[0])
    return f"{place}: {problem[:1].lower()}{problem[1:]}" + (f"; allowed: {choices}" if choices else "")


def _table_at(kind: type[Settings], table: Mapping[str, Any], place: str) -> type[Settings]:
    """The settings that a place in a table is read as: of several kinds, the one whose tag the table has."""
    kinds = _kinds(kind, table, place)
    for part in filter(None, place.split(".")):
        table = table.get(part, {})
    tags = {_tag(one): one for one in kinds}
    return tags.get(str(table.get(str(kinds[0].__struct_config__.tag_field))), kinds[0])


def _kinds(kind: type[Settings], table: Mapping[str, Any], place: str) -> list[type[Settings]]:
    """Every kind of settings that may stand at a place in a table; the last known one's where it leads nowhere."""
    *above, name = place.split(".")
    if not name:
        return [kind]
    parent = _table_at(kind, table, ".".join(above))
    field = {field.name: field.type for field in msgspec.structs.fields(parent)}.get(name)
    kinds = [one for one in get_args(field) or (field,) if isinstance(one, type) and issubclass(one, Settings)]
    return kinds or [parent]


def _tag(kind: type[Settings]) -> str:
    return str(kind.__struct_config__.tag)


def _choices(kinds: list[type[Settings]], name: str) -> str:
    if name == kinds[0].__struct_config__.tag_field:
        return ", ".join(sorted(map(_tag, kinds)))
    field = {field.name: field.type for field in msgspec.structs.fields(kinds[0])}.get(name)
    info = msgspec.inspect.type_info(field) if field is not None else None
    if isinstance(info, msgspec.inspect.LiteralType):
        return ", ".join(sorted(map(str, info.values)))
    return ""
