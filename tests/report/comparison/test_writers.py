from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lesionsplit.comparison.result import Comparison
from lesionsplit.report.comparison.cells import Cell, NumberTable, Row, duration, grouped, signed
from lesionsplit.report.comparison.tables import against_table, seeds_table, slices_table
from lesionsplit.report.comparison.writers import escape_latex, escape_markdown, to_latex, to_markdown

ODD = r"50% & a_b #1 {x} $y$ ~z^ \w <v> |u| −1 × 2"


def odd_table() -> NumberTable:
    row = Row(name=ODD, cells=(Cell("0.5", "[0.40, 0.60]"), Cell("-", mark=True)), upper_bound=True, reference=True)
    return NumberTable(
        key="odd",
        caption=ODD,
        columns=(ODD, "second"),
        blocks={ODD: (row,)},
        notes=(ODD,),
    )


def test_latex_escapes() -> None:
    assert escape_latex("50% & a_b #1 {x} $y$") == r"50\% \& a\_b \#1 \{x\} \$y\$"
    assert escape_latex("~^\\") == r"\textasciitilde{}\textasciicircum{}\textbackslash{}"
    assert escape_latex("−1 × 2 <3>") == r"$-$1 $\times$ 2 \textless{}3\textgreater{}"


def test_latex_is_balanced_and_has_as_many_cells_as_columns(comparison: Comparison) -> None:
    tables = [against_table(comparison), slices_table(comparison), seeds_table(comparison), odd_table()]
    text = to_latex([table for table in tables if table is not None])
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert text.isascii()
    for table in tables:
        assert table is not None
        (body,) = re.findall(rf"label{{tab:{table.key}}}(.*?)\\end{{table\*}}", text, re.DOTALL)
        lines = [line for line in body.splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
        assert len(lines) == 1 + sum(map(len, table.blocks.values()))
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(table.columns)}


def test_latex_makes_a_float_of_each_block_where_a_page_could_not_hold_all() -> None:
    row = odd_table().blocks[ODD][0]
    blocks = {f"block {number}": (row,) * 13 for number in (1, 2)}
    long = replace(odd_table(), blocks=blocks)
    text = to_latex([long])
    assert re.findall(r"label\{tab:(.*?)\}", text) == ["odd-1", "odd-2"]
    assert to_latex([replace(long, blocks={"block 1": blocks["block 1"]})]).count("tab:odd}") == 1
    first, second = text.split(r"\end{table*}")[:2]
    assert "block 1" in first
    assert "block 2" not in first
    assert r"\smallskip" not in first
    assert r"\smallskip" in second


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_latex_compiles(comparison: Comparison, tmp_path: Path) -> None:
    table = against_table(comparison)
    assert table is not None
    (tmp_path / "table.tex").write_text(to_latex([table, odd_table()]))
    (tmp_path / "main.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}\begin{document}\input{table}\end{document}"
    )
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "main.tex"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()[-2000:]


def test_markdown_keeps_cells_apart() -> None:
    text = to_markdown("A | title", ["Scope."], [odd_table()])
    (row,) = [line for line in text.splitlines() if line.startswith("| **")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 4
    assert text.startswith("# A \\| title\n\nScope.\n\n## 50%")
    assert escape_markdown("a_b*c") == r"a\_b\*c"


def test_upper_bounds_are_slanted_and_the_reference_bold(comparison: Comparison) -> None:
    table = against_table(comparison)
    assert table is not None
    markdown, latex = to_markdown("t", [], [table]), to_latex([table])
    assert "| *supervised-a (upper bound: masks of a)* |" in markdown
    assert "| **decomposition** |" in markdown
    assert r"\textit{supervised-a}\\{}\textit{(upper bound: masks of a)}" in latex
    assert r"\textbf{decomposition}" in latex


def test_numbers_as_people_read_them() -> None:
    assert [duration(seconds) for seconds in (48, 1380, 7560)] == ["48 s", "23 min", "2.1 h"]
    assert grouped(1234567) == "1 234 567"
    assert [signed(number, 2) for number in (0.123, -0.123, -0.001, 0.0)] == ["+0.12", "−0.12", "0.00", "0.00"]
