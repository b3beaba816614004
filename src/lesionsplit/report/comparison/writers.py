"""Tables as Markdown and as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from lesionsplit.report.comparison.cells import Cell, NumberTable, Row

LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": "$-$",
    "×": r"$\times$",
}
"""Characters with a meaning in LaTeX, or missing in its usual fonts, and their replacements."""

MOST_ROWS = 24
"""Rows of a float that fit on a page, with two lines each."""

LETTERS = 12, 24
"""Approximate letters of a line in headings, and in cells of words."""

PREAMBLE = r"""% \input this file. It needs \usepackage{booktabs} and \usepackage[T1]{fontenc}.
% Slanted: supervised upper bounds. Bold names: the reference. Small: 95 % intervals.
"""


def escape_latex(words: str) -> str:
    """Text for LaTeX."""
    return "".join(LATEX.get(letter, letter) for letter in words)


def escape_markdown(words: str) -> str:
    """Text for a cell of a Markdown table."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", words)


def to_latex(tables: Iterable[NumberTable]) -> str:
    """Floats that compile in any document with booktabs."""
    return PREAMBLE + "".join(_latex(part) for table in tables for part in _fitting(table))


def to_markdown(title: str, scope: Iterable[str], tables: Iterable[NumberTable]) -> str:
    """A page that begins with the conventions."""
    parts = [f"# {escape_markdown(title)}", *map(escape_markdown, scope), *map(_markdown, tables)]
    return "\n\n".join(parts) + "\n"


def _fitting(table: NumberTable) -> list[NumberTable]:
    """The table, or one table for each block where the whole does not fit on a page."""
    if len(table.blocks) < 2 or sum(map(len, table.blocks.values())) <= MOST_ROWS:
        return [table]
    last = len(table.blocks)
    return [
        replace(table, key=f"{table.key}-{number}", blocks={heading: rows}, notes=table.notes if number == last else ())
        for number, (heading, rows) in enumerate(table.blocks.items(), start=1)
    ]


def _latex(table: NumberTable) -> str:
    align = ("r" if table.numeric else "l") * len(table.columns)
    heads = " & ".join(_stacked(_wrapped(column, LETTERS[0]), "c") for column in table.columns)
    lines = [
        r"\begin{table*}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\label{{tab:{table.key}}}",
        rf"\begin{{tabular}}{{l{align}}}",
        r"\toprule",
        rf" & {heads} \\",
    ]
    for heading, rows in table.blocks.items():
        lines.append(r"\midrule")
        if heading:
            lines.append(rf"\multicolumn{{{len(table.columns) + 1}}}{{l}}{{{escape_latex(heading)}}} \\")
        lines += [
            rf"{_latex_name(row)} & {' & '.join(_latex_cell(cell, align[0]) for cell in row.cells)} \\" for row in rows
        ]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip {escape_latex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table*}", ""])


def _latex_name(row: Row) -> str:
    lines = [escape_latex(part) for part in row.name.replace(" (upper", "\n(upper").split("\n")]
    if row.reference:
        lines = [rf"\textbf{{{line}}}" for line in lines]
    if row.upper_bound:
        lines = [rf"\textit{{{line}}}" for line in lines]
    return _stacked(lines, "l")


def _latex_cell(cell: Cell, align: str) -> str:
    lines = [rf"\textbf{{{line}}}" if cell.mark else line for line in _wrapped(cell.text, LETTERS[1])]
    lines += [rf"{{\tiny {escape_latex(cell.more)}}}"] if cell.more else []
    return _stacked(lines, align)


def _stacked(lines: Sequence[str], align: str) -> str:
    """Stacked lines in one cell; ``{}`` keeps a bracket at the start of a line from being an argument."""
    if len(lines) == 1:
        return lines[0]
    return rf"\begin{{tabular}}[t]{{@{{}}{align}@{{}}}}" + r"\\{}".join(lines) + r"\end{tabular}"


def _wrapped(words: str, letters: int) -> list[str]:
    """Text in lines of about so many letters."""
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + len(word) > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [escape_latex(line) for line in lines]


def _markdown(table: NumberTable) -> str:
    lines = [f"## {escape_markdown(table.caption)}", ""]
    for number, (heading, rows) in enumerate(table.blocks.items()):
        if heading:
            lines += [""] * bool(number) + [f"### {escape_markdown(heading[0].upper() + heading[1:])}", ""]
        lines += [
            "| | " + " | ".join(map(escape_markdown, table.columns)) + " |",
            "|---|" + ("--:|" if table.numeric else "---|") * len(table.columns),
            *(f"| {_markdown_name(row)} | {' | '.join(map(_markdown_cell, row.cells))} |" for row in rows),
        ]
    for note in table.notes:
        lines += ["", escape_markdown(note)]
    return "\n".join(lines)


def _markdown_name(row: Row) -> str:
    name = escape_markdown(row.name)
    name = f"*{name}*" if row.upper_bound else name
    return f"**{name}**" if row.reference else name


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    text = f"**{text}**" if cell.mark else text
    return f"{text} {cell.more}".strip()  # an interval in brackets is no link
