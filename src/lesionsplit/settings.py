"""Settings: strict typed tables, read from TOML.

Each part's settings live beside the part; this file knows only how to read and write them.
An unknown key, a wrong type or a value out of range is a `SettingsError`, never ignored.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

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
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); give a settings file (.toml)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from None
    for override in overrides:
        _override(table, override)
    return from_table(kind, table, source=str(path))


def from_table(kind: type[S], table: Mapping[str, Any], *, source: str) -> S:
    """Check ``table`` and make settings of ``kind`` from it.

    Raises:
        SettingsError: a setting is unknown, of the wrong type or out of range; ``source`` says where.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source}: {_explain(kind, str(error))}") from None


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


def _explain(kind: type[Settings], message: str) -> str:
    """Turn msgspec's account of an error into one that names the setting and lists what is allowed."""
    problem, _, path = message.partition(" - at `$")
    place = path.strip("`").lstrip(".")
    if problem.startswith("Object contains unknown field"):
        unknown = problem.split("`")[1]
        table = _table_at(kind, place)
        return (
            f"unknown setting {'.'.join(filter(None, (place, unknown)))}; "
            f"allowed here: {', '.join(table.__struct_fields__)}"
        )
    *tables, name = place.split(".")
    choices = _choices(_table_at(kind, ".".join(tables)), name.partition("[")[0])
    return f"{place}: {problem[:1].lower()}{problem[1:]}" + (f"; allowed: {choices}" if choices else "")


def _table_at(kind: type[Settings], place: str) -> type[Settings]:
    for part in filter(None, place.split(".")):
        field = {field.name: field.type for field in msgspec.structs.fields(kind)}.get(part)
        if not (isinstance(field, type) and issubclass(field, Settings)):
            break
        kind = field
    return kind


def _choices(kind: type[Settings], name: str) -> str:
    field = {field.name: field.type for field in msgspec.structs.fields(kind)}.get(name)
    info = msgspec.inspect.type_info(field) if field is not None else None
    if isinstance(info, msgspec.inspect.LiteralType):
        return ", ".join(sorted(map(str, info.values)))
    return ""
