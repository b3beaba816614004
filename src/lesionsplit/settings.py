"""Settings: strict typed tables, read from TOML.

The settings of each part are defined beside the part; this file only reads and writes them.
An unknown key, a wrong type, a value out of range or a number that is not finite is a `SettingsError`, never ignored.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, get_args

import msgspec
import tomli_w
from msgspec import Meta

from lesionsplit.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST = 2**32 - 1
"""Of whole numbers: what every random generator takes as a seed."""

Count: TypeAlias = Annotated[int, Meta(ge=1, le=LARGEST)]
NonNegativeInt: TypeAlias = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive: TypeAlias = Annotated[float, Meta(gt=0, le=1e9)]
NonNegative: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]
Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
BelowOne: TypeAlias = Annotated[float, Meta(ge=0, lt=1)]
Width: TypeAlias = Annotated[int, Meta(ge=1, le=4096)]
"""Features of a layer; the paper has 1024 at most."""


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
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, thousands of digits, endless brackets
        raise SettingsError(f"{path}: is not TOML: {error}") from None


def parse_json(text: str | bytes) -> dict[str, Any]:
    """A JSON object as plain nested tables.

    Raises:
        ValueError: the text is not JSON, is not an object, is nested too deeply, or has half of a Unicode character.
    """
    try:
        table = json.loads(text)
        json.dumps(table, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(table, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - one kind of error for all that the text may be
    return table


def from_table(kind: type[S], table: Mapping[str, Any], *, source: str) -> S:
    """Check ``table`` and make settings of ``kind`` from it.

    Raises:
        SettingsError: a setting is unknown, of the wrong type, out of range or not finite; ``source`` says where.
    """
    for place, number in not_finite(table):  # no comparison with a bound refuses NaN
        raise SettingsError(f"{source}: {place} is {number}; allowed: finite numbers")
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source}: {_explain(kind, table, str(error))}") from None


def not_finite(table: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Place and value of every number in nested tables and lists that is NaN or infinite."""
    waiting: list[tuple[str, Any]] = list(table.items())
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            yield place, value
        elif isinstance(value, Mapping):
            waiting += ((f"{place}.{key}", item) for key, item in value.items())
        elif isinstance(value, (list, tuple)):
            waiting += ((f"{place}[{at}]", item) for at, item in enumerate(value))


def to_table(settings: Settings) -> dict[str, Any]:
    """Settings as plain nested tables, every default written out."""
    table: dict[str, Any] = msgspec.to_builtins(settings)
    return table


def to_toml(settings: Settings) -> str:
    """Settings as TOML, every default written out."""
    return tomli_w.dumps(_without_none(to_table(settings)))


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    """Drop values that are None, which TOML cannot express."""
    plain = {key: _without_none(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in plain.items() if value is not None}


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Settings of the form ``table.key=value`` with TOML values, as nested tables.

    Raises:
        SettingsError: one is not of that form.
    """
    table: dict[str, Any] = {}
    for override in overrides:
        _override(table, override)
    return table


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two tables merged at every depth; values of ``above`` win."""
    table = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(table.get(key), Mapping)
        table[key] = merged(table[key], value) if nested else value
    return table


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *tables, name = key.strip().split(".")
    if not equals or not name:
        raise SettingsError(
            f"--set {override}: is not of the form table.key=value; give for example training.steps=500"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()  # a bare word is a string
    for part in tables:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SettingsError(f"--set {override}: {part} is a value, not a table")
    table[name] = value


def _explain(kind: type[Settings], table: Mapping[str, Any], message: str) -> str:
    """Turn msgspec's message into one that names the setting and lists the allowed values."""
    problem, _, path = message.partition(" - at `$")
    place = path.strip("`").lstrip(".")
    if problem.startswith("Invalid enum value") and len(problem) > 100:  # someone else's text: the line stays a line
        problem = f"{problem[:100]}...'"
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
    """The type of the settings at a place in a table; of several, the one whose tag the table has."""
    kinds = _kinds(kind, table, place)
    for part in filter(None, place.split(".")):
        table = table.get(part, {})
    tags = {_tag(one): one for one in kinds}
    return tags.get(str(table.get(str(kinds[0].__struct_config__.tag_field))), kinds[0])


def _kinds(kind: type[Settings], table: Mapping[str, Any], place: str) -> list[type[Settings]]:
    """All types of settings allowed at a place in a table; for an unknown place, that of its parent."""
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
