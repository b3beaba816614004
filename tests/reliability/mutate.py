"""Changes of files: bytes of any file, and what is written in files whose format is known.

A mutation is a list of `Op`. The same file and the same list give the same bytes, and shorter lists of smaller
numbers are simpler, so Hypothesis can shrink what it finds.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tomli_w

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Op(NamedTuple):
    """One change: which of the kinds that a format knows, where, and to what; any number is allowed for each."""

    kind: int
    at: int
    value: int


Ops = Sequence[Op]

NEAR = 600
"""Bytes at the start of a file, where headers are: half of the changes go there."""

DEEP = "[" * 60_000 + "]" * 60_000
"""JSON that a recursive parser has no stack for."""

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 200_000, 2**31, 2**63, 10**40, -(2**63) - 1, 0.5, 1e-320, 1e20, 1e308,
    float("nan"), float("inf"), -float("inf"), "", "x", "NaN", "0", "../../etc/passwd", "a\nb", "=1+1", "é" * 40,
    "/", [], {}, [[]], [1, 2, 3], {"a": 1}, ["x"] * 50, [float("nan")] * 3,
)  # fmt: skip
"""Values that are put where others were."""

ODD_TEXT = ("", "nan", "inf", "-inf", "1e400", "-1", "0", "1e20", "1e-20", "abc", "99999999999999999999", "1\\2\\3",
            "\x00", "=2+3", "1,5", "x" * 200_000, '"', "é", "../x", "-0")  # fmt: skip
"""The same as text: cells, fields of headers, elements of DICOM."""


def changed_bytes(data: bytes, ops: Ops) -> bytes:
    """Bits flipped, bytes replaced, inserted, removed, copied from elsewhere, the end cut off."""
    found = bytearray(data)
    for kind, where, value in ops:
        if not found:
            break
        at = where % min(len(found), NEAR) if where % 2 else where // 2 % len(found)
        length = 1 + value % 64
        match kind % 8:
            case 0:
                found[at] ^= 1 << value % 8
            case 1:
                found[at] = (0, 255, 127, 128, 1, value % 256)[value % 6]
            case 2:
                del found[at:]
            case 3:
                found[at:at] = bytes((value + i * 37) % 256 for i in range(length))
            case 4:
                start = value % len(found)
                found[at : at + length] = found[start : start + length]
            case 5:
                del found[at : at + length]
            case 6:
                found[at : at + length] = bytes(length)
            case _:
                few = found[at : at + 4]
                found[at : at + 4] = few[::-1]
    return bytes(found)


def changed_json(data: bytes, ops: Ops) -> bytes:
    """Keys removed, values of other types, not finite, huge, nested without end; a key twice."""
    tree = [json.loads(data)]
    deep = False
    for op in ops:
        deep |= _change_tree(tree, op)
    text = json.dumps(tree[0] if tree else None)
    text = text.replace('"DEEP"', DEEP) if deep else text
    if ops[-1].kind % 16 == 15 and text.startswith("{") and len(text) > 2:
        text = text[:-1] + "," + text[1:]
    return text.encode()


def changed_toml(data: bytes, ops: Ops) -> bytes:
    """The same in a TOML file, which knows no null."""
    tree: list[Any] = [tomllib.loads(data.decode())]
    for op in ops:
        _change_tree(tree, op)
    return tomli_w.dumps(_without_none(tree[0] if tree and isinstance(tree[0], dict) else {})).encode()


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None and one != "DEEP"}
    return [_without_none(one) for one in value if one is not None] if isinstance(value, list) else value


def _change_tree(tree: list[Any], op: Op) -> bool:
    """Change one place of nested tables and lists; returns whether it became one nested without end."""
    places: list[tuple[Any, Any]] = []

    def walk(owner: Any) -> None:
        for key in list(owner) if isinstance(owner, dict) else range(len(owner)):
            places.append((owner, key))
            if isinstance(owner[key], (dict, list)):
                walk(owner[key])

    walk(tree)
    if not places:
        return False
    owner, key = places[op.at % len(places)]
    kind = op.kind % 16
    if kind < 3:
        del owner[key]
    elif kind < 9:
        owner[key] = json.loads(json.dumps(ODD[op.value % len(ODD)]))
    elif kind < 11:
        other, name = places[op.value % len(places)]
        owner[key], other[name] = other[name], owner[key]
    elif kind == 11 and isinstance(owner, dict):
        owner[f"{key}x"] = owner.pop(key)
    elif kind == 12:
        owner[key] = [owner[key]]
    elif kind == 13 and isinstance(owner[key], (int, float)) and not isinstance(owner[key], bool):
        owner[key] = (-owner[key], owner[key] * 1000, owner[key] / 1000, float(owner[key]), str(owner[key]))[
            op.value % 5
        ]
    elif kind == 14 and op.value % 4 == 0:
        owner[key] = "DEEP"
        return True
    elif isinstance(owner, dict):
        owner[str(ODD_TEXT[op.value % 15])] = owner[key]
    else:
        owner.append(owner[key])
    if len(json.dumps(tree, default=str)) > 1 << 20:  # swapped into itself some times
        tree[:] = [None]
    return False


def changed_csv(data: bytes, ops: Ops) -> bytes:
    """Cells, rows and columns removed, replaced, doubled; other line ends and encodings; an open quotation mark."""
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    encoding, end = "utf-8", "\n"
    for kind, at, value in ops:
        row = rows[at % len(rows)] if rows else []
        column = value % max(1, len(row))
        match kind % 12:
            case 0 | 1 | 2 if row:
                row[column] = ODD_TEXT[value // 7 % len(ODD_TEXT)]
            case 3 if row:
                del row[column]
            case 4:
                row.insert(column, "more")
            case 5 if rows:
                rows.insert(value % len(rows), list(row))
            case 6 if rows:
                rows.remove(row)
            case 7:
                for one in rows:
                    del one[column : column + 1]
            case 8 if rows and rows[0]:
                rows[0][value % len(rows[0])] = ODD_TEXT[at % len(ODD_TEXT)]
            case 9:
                encoding = ("utf-8-sig", "utf-16", "latin-1")[value % 3]
            case 10:
                end = ("\r\n", "\r", "\n\n", ";")[value % 4]
            case _ if rows:
                rows.reverse()
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=end).writerows(rows)
    text = file.getvalue()
    if ops[-1].kind % 24 == 11:
        text = text.replace(",", ',"', 1)
    return text.encode(encoding, "replace")


def changed_header_lines(data: bytes, ops: Ops) -> bytes:
    """Lines of a text at the start of a file (NRRD, MetaImage): removed, doubled, with other words."""
    head, mark, rest = data.partition(b"\n\n")
    if not mark:
        head, mark, rest = data[:2048], b"", data[2048:]
    lines = head.split(b"\n")
    for kind, at, value in ops:
        if not lines:
            break
        index = at % len(lines)
        words = lines[index].split(b" ")
        match kind % 6:
            case 0:
                del lines[index]
            case 1:
                lines.insert(value % len(lines), lines[index])
            case 2 | 3:
                words[value % len(words)] = ODD_TEXT[value // 8 % len(ODD_TEXT)].encode()
                lines[index] = b" ".join(words)
            case 4:
                lines[index] = b" ".join(words[::-1])
            case _:
                lines[index] = changed_bytes(lines[index], [Op(value, at, kind)])
    return b"\n".join(lines) + mark + rest


Change = Callable[[bytes, Ops], bytes]


def mutant(data: bytes, change: Change | None, ops: Ops) -> bytes:
    """A changed file; where its format does not allow the change, bytes are changed."""
    if change is None:
        return changed_bytes(data, ops)
    try:
        return change(data, ops)
    except Exception:  # the writer of the format refuses what was asked for
        return changed_bytes(data, ops)
