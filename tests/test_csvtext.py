from __future__ import annotations

import pytest

from lesionsplit.csvtext import csv_text, decimals, printable


def test_rows_become_lines_and_what_is_missing_an_empty_cell() -> None:
    rows = [{"name": 'a, "b"', "value": 0.5}, {"name": "c", "value": None}, {"name": "d"}]
    assert csv_text(("name", "value"), rows) == 'name,value\n"a, ""b""",0.5\nc,\nd,\n'
    assert csv_text(("name",), []) == "name\n"
    with pytest.raises(ValueError, match="nmae"):
        csv_text(("name",), [{"nmae": "a"}])


def test_decimals() -> None:
    assert [decimals(value) for value in (0.5, 0.0, -1 / 3, None, float("nan"))] == [
        "0.500000",
        "0.000000",
        "-0.333333",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+SUM(A1)", "'+SUM(A1)"),
        ("-2+3+cmd", "'-2+3+cmd"),
        ("@import", "'@import"),
        ("-", "'-"),
        ("\t=1+1", "\\t=1+1"),
        ("\r=1+1", "\\r=1+1"),
        ("\n=1+1", "\\n=1+1"),
        ("-0.333333", "-0.333333"),
        ("-1e-05", "-1e-05"),
        ("+12", "+12"),
        (-3, "-3"),
        ("a=b", "a=b"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("M\xfcller", "M\xfcller"),
        ("\udcff.png", "\\udcff.png"),
    ],
)
def test_no_cell_is_a_formula_or_hides_something(cell: object, written: str) -> None:
    text = csv_text(("name",), [{"name": cell}])
    assert text == f"name\n{written}\n"
    assert csv_text(("name",), [{"name": written}]) == text  # rows are read and written again
    text.encode()


def test_what_cannot_be_printed_is_escaped() -> None:
    assert printable("a\x00b\x9bc\u202ed\u2028e f") == "a\\x00b\\x9bc\\u202ed\\u2028e f"
    assert printable("Stra\xdfe \u4e2d") == "Stra\xdfe \u4e2d"
