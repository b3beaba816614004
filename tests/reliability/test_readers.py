"""Any change of a file is read as something valid or refused with one line: every reader, and every state file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .mutate import Op, changed_bytes, changed_json, changed_toml
from .parts import READERS
from .reader import Reader, attempt, observed

NUMBER = st.integers(0, (1 << 31) - 1)
OPS = st.lists(st.builds(Op, st.integers(0, 1 << 16), NUMBER, NUMBER), min_size=1, max_size=3)

CUT, FLIP = Op(2, 1200, 0), Op(0, 1, 7)
"""The end is cut off; a bit near the start is changed."""

EXAMPLES = {"label map": 12, "DICOM series": 12, "manifest.json": 12}
"""Of slow readers; `make campaign` tries hundreds of each."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed")


def by_name(reader: Reader) -> str:
    return reader.name.replace(" ", "-").replace(":", "")


@pytest.mark.parametrize("reader", READERS, ids=by_name)
def test_whole_files_are_read(reader: Reader, place: Path) -> None:
    for number, seed in enumerate(reader.seeds()):
        found = observed(reader.read, seed.place(place / f"whole-{by_name(reader)}-{number}"))
        assert found.fate == "read", f"{seed.name}: {found.said}"


@pytest.mark.parametrize("reader", READERS, ids=by_name)
def test_changed_files_are_read_or_refused_in_one_line(reader: Reader, place: Path) -> None:
    @settings(
        max_examples=EXAMPLES.get(reader.name, 25),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(number=st.integers(0, 15), ops=OPS, structured=st.booleans())
    @example(number=0, ops=[CUT], structured=False)
    @example(number=1, ops=[FLIP], structured=False)
    def check(number: int, ops: list[Op], structured: bool) -> None:
        seeds = reader.seeds()
        number %= len(seeds)
        folder = place / f"{by_name(reader)}-{number}"
        found = attempt(reader, seeds[number], ops, structured=structured, folder=folder)
        assert found.right, f"{seeds[number].name}: {found.fate}: {found.said}"

    check()


def test_the_changes_are_those_that_were_asked_for() -> None:
    assert changed_bytes(b"abcdef", [Op(2, 6, 0)]) == b"abc"  # cut at 6 / 2
    assert changed_bytes(b"abcdef", [Op(0, 0, 1)]) == b"cbcdef"  # bit 1 of the first byte
    assert changed_bytes(b"abcdef", [Op(5, 3, 1)]) == b"abcf"
    assert changed_bytes(b"", [Op(0, 0, 1)]) == b""
    assert changed_json(b'{"a": 1, "b": 2}', [Op(0, 1, 0)]) == b'{"b": 2}'
    assert changed_json(b'{"a": 1}', [Op(3, 1, 16)]) == b'{"a": NaN}'
    assert changed_json(b'{"a": 1}', [Op(31, 1, 1)]) == b'{"a": 1, "nan": 1,"a": 1, "nan": 1}'
    assert changed_toml(b"a = 1.5", [Op(3, 1, 16)]) == b"a = nan\n"
