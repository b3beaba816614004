"""cases.csv whatever happens to it: other calls at the same time, full disks, damage."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from lesionsplit.atomic import temporary_folder
from lesionsplit.errors import DataError
from lesionsplit.pipeline import case_table
from lesionsplit.pipeline.case_table import COLUMNS, CaseTable


def begun(out: Path, *, masked: bool = False, others: tuple[str, ...] = ()) -> CaseTable:
    table = CaseTable(out, masked=masked)
    table.begin({"name": name, "lung_ml": "1"} for name in others)
    return table


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "cases.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def said(out: Path) -> list[tuple[str, str, str]]:
    return [(row["name"], row["status"], row["reason"]) for row in rows(out)]


@pytest.fixture
def _another_call_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_table, "sweep", lambda *_, **__: True)


def test_rows_are_those_of_this_call_and_then_what_earlier_ones_did(tmp_path: Path) -> None:
    table = begun(tmp_path, others=("before",))
    table.add("two", {"lung_ml": "3"})
    table.refuse("broken", "two.nii: is broken")
    table.add("one", {"status": "incomplete", "reason": "report.html is missing"})
    table.write()
    assert said(tmp_path) == [
        ("two", "done", ""),
        ("broken", "failed", "two.nii: is broken"),
        ("one", "incomplete", "report.html is missing"),
        ("before", "done", ""),
    ]
    assert list(rows(tmp_path)[0]) == list(COLUMNS)


def test_columns_of_another_version_are_left_out(tmp_path: Path) -> None:
    table = CaseTable(tmp_path, masked=False)
    table.add("scan", {"lung_ml": "3", "unknown": "1"})
    table.begin([{"name": "before", "lung_ml": "3", "unknown": "1"}])
    assert [row["lung_ml"] for row in rows(tmp_path)] == ["3", "3"]
    assert list(rows(tmp_path)[0]) == list(COLUMNS)


def test_failures_of_earlier_calls_go(tmp_path: Path) -> None:
    table = begun(tmp_path)
    table.refuse("broken", "why")
    table.write()
    begun(tmp_path, others=("mended",)).write()
    assert said(tmp_path) == [("mended", "done", "")]


@pytest.mark.usefixtures("_another_call_lives")
def test_calls_at_a_time_keep_the_rows_of_each_other(tmp_path: Path) -> None:
    one, two = begun(tmp_path), begun(tmp_path)
    one.refuse("scan", "a/scan.nii: is broken")
    one.write()
    two.add("scan", {"lung_ml": "3"})
    two.refuse("other", "b/other.nii: is broken")
    two.write()
    one.add("third", {})
    one.write()
    begun(tmp_path).write()
    assert sorted(said(tmp_path)) == [
        ("other", "failed", "b/other.nii: is broken"),
        ("scan", "done", ""),
        ("scan", "failed", "a/scan.nii: is broken"),
        ("third", "done", ""),
    ]


@pytest.mark.usefixtures("_another_call_lives")
def test_calls_at_a_time_do_the_same_case_once(tmp_path: Path) -> None:
    one, two = begun(tmp_path), begun(tmp_path)
    for table in (one, two):
        table.add("scan", {"lung_ml": "3"})
        table.write()
    assert said(tmp_path) == [("scan", "done", "")]


def test_a_living_call_is_known_by_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = begun(tmp_path)
    table.refuse("broken", "why")
    table.write()
    with temporary_folder(tmp_path) as folder:
        monkeypatch.setattr("lesionsplit.atomic._alive", set())  # as for another process
        begun(tmp_path)
        assert said(tmp_path) == [("broken", "failed", "why")]
    begun(tmp_path)
    assert said(tmp_path) == []
    assert not folder.exists()


@pytest.mark.usefixtures("_another_call_lives")
def test_a_masked_call_keeps_only_masked_rows_and_each_of_those(tmp_path: Path) -> None:
    named = begun(tmp_path)
    named.add("Quixano", {"notes": "left out beside it: Dulcinea.nii"})
    named.refuse("case-01234567", "Quixano.nii: is broken")
    named.write()
    one, two = begun(tmp_path, masked=True, others=("case-89abcdef", "Sancho")), begun(tmp_path, masked=True)
    for table in (one, two):
        table.refuse("Doe.nii", "Doe.nii: is broken")
        table.write()
    assert sorted(status for _, status, _ in said(tmp_path)) == ["done", "failed", "failed"]
    text = (tmp_path / "cases.csv").read_text()
    assert not [name for name in ("Quixano", "Dulcinea", "Sancho", "Doe") if name in text]


@pytest.mark.parametrize("left", ["", "name,status,reason", "name,status,reason,lung_ml\nscan,done,,3\nscan2,do"])
@pytest.mark.usefixtures("_another_call_lives")
def test_half_a_table_is_written_anew(tmp_path: Path, left: str) -> None:
    (tmp_path / "cases.csv").write_text(left)
    begun(tmp_path, others=("before",)).write()
    expected = [("before", "done", "")] + [("scan", "done", "")] * ("scan" in left)
    assert said(tmp_path) == expected


@pytest.mark.parametrize("text", ["patient,finding\n1,none\n", "\xff\xfe\0", "name;status;reason\n"])
def test_a_table_of_somebody_else_is_not_touched(tmp_path: Path, text: str) -> None:
    (tmp_path / "cases.csv").write_text(text, encoding="latin1")
    with pytest.raises(DataError, match=r"cases.csv: is not a table of cases; move it away, or choose another folder"):
        begun(tmp_path)
    assert (tmp_path / "cases.csv").read_text(encoding="latin1") == text
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.usefixtures("_another_call_lives")
def test_no_damage_is_a_traceback(tmp_path: Path) -> None:
    table = begun(tmp_path)
    for name in "abcdef":
        table.add(name, {"lung_ml": "3", "notes": 'a "note", with all of it'})
    table.write()
    whole = (tmp_path / "cases.csv").read_bytes()
    draw = random.Random(0)
    refused = 0
    for _ in range(100):
        damaged = bytearray(whole)
        at = draw.randrange(len(damaged))
        damaged[at : at + draw.choice((0, 1, 40))] = draw.choice((b"", b"\0", b"\xff", b'"', b"\n", b","))
        (tmp_path / "cases.csv").write_bytes(bytes(damaged))
        try:
            begun(tmp_path)
        except DataError:
            refused += 1
        else:
            assert {status for _, status, _ in said(tmp_path)} <= {"done"}
    assert refused < 30


def test_a_full_disk_names_the_table_and_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = begun(tmp_path, others=("before",))
    before = (tmp_path / "cases.csv").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    table.add("scan", {})
    with pytest.raises(
        DataError, match=r"cases.csv: cannot be written \(No space left on device\); choose another fol"
    ):
        table.write()
    assert [path.name for path in tmp_path.iterdir()] == ["cases.csv"]
    assert (tmp_path / "cases.csv").read_bytes() == before
