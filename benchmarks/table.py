"""The suite's results as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.task import CUT, OURS, TEXTBOOK, Rates, Work

TITLES = {
    "step": "A training step, 8 slices of each label",
    "wide": "The first training step at the paper's full width",
    "epoch": "A training epoch, nothing prepared",
    "predict": "Prediction, slices of 512 x 512 from arrays to results",
    "evaluate": "Evaluation against three annotators",
}

HEAD = (
    "| {title} | slices/s: textbook | textbook, cut | lesionsplit | times textbook | times cut "
    "| peak MiB: textbook, cut, lesionsplit | ms a slice | floor: arithmetic | floor: bytes |"
)

BEGIN, END = "<!-- python -m benchmarks: begin -->", "<!-- python -m benchmarks: end -->"


def markdown(results: dict[str, Any]) -> str:
    """Everything that was measured."""
    machine, rates = results["machine"], Rates(**results["rates"])
    lines = [
        f"{machine['processor']}, {machine['threads']} threads, {machine['device']}; Python {machine['python']}, "
        f"torch {machine['torch']}, numpy {machine['numpy']}, lesionsplit {machine['lesionsplit']}; {machine['date']}. "
        f"A large matrix product reaches {rates.macs / 1e9:.0f} GMAC/s, a large copy {rates.bytes / 1e9:.1f} GB/s. "
        f"Middle of {machine['rounds']} rounds, each way in turns and in a process of its own.",
    ]
    rows = results["rows"]
    for group, title in TITLES.items():
        if several := [row for row in rows if row["group"] == group]:
            head = HEAD.format(title=title)
            lines += ["", head, "|" + "---|" * (head.count("|") - 1), *(_compared(row, rates) for row in several)]
    if several := [row for row in rows if row["group"] == "difference"]:
        lines += ["", "| our scores in the lungs, 0 to 1, less the textbook's | largest | mean | within 0.001 |"]
        lines += ["|---|---|---|---|", *(line for row in several for line in _differences(row))]
    if several := [row for row in rows if row["group"] in ("start", "volume")]:
        lines += ["", "| command | seconds | peak MiB |", "|---|---|---|"]
        lines += [f"| {row['name']} | {row['seconds']:.2f} | {row['peak_mib']:.0f} |" for row in several]
        lines += [line for row in several if row["group"] == "volume" for line in _stages(row)]
    return "\n".join([*lines, "", f"GPU: {results['gpu']}."])


def _compared(row: dict[str, Any], rates: Rates) -> str:
    ways, ratios = row["ways"], row["ratios"]

    def speed(way: str) -> str:
        return f"{ways[way]['slices_per_second']:.2f}" if way in ways else ""

    def times(way: str) -> str:
        if way not in ratios:
            return ""
        return "{median:.2f} ({lowest:.2f} to {highest:.2f})".format(**ratios[way])

    peaks = ", ".join(f"{ways[way]['peak_mib']:.0f}" if way in ways else "-" for way in (TEXTBOOK, CUT, OURS))
    took = 1000 / ways[OURS]["slices_per_second"]
    cells = [row["name"], *map(speed, (TEXTBOOK, CUT, OURS)), times(TEXTBOOK), times(CUT), peaks, f"{took:.1f} ms"]
    return "| " + " | ".join([*cells, *_floors(ways[OURS], took, rates)]) + " |"


def _floors(ours: dict[str, Any], took: float, rates: Rates) -> list[str]:
    """Of arithmetic and of bytes, each with the share of our time that it is."""
    if "work" not in ours:
        return ["", ""]
    work = Work(**ours["work"])
    floors = (work.macs / rates.macs, work.bytes / rates.bytes)
    return [f"{1000 * floor:.1f} ms, {1000 * floor / took:.0%}" if floor else "" for floor in floors]


def _differences(row: dict[str, Any]) -> list[str]:
    seen = {CUT: "with our crop as its input", TEXTBOOK: "with whole frames as its input"}
    return [
        f"| {row['name']}, {seen[way]} | {apart['largest']:.2g} | {apart['mean']:.2g} | {apart['within 1e-3']:.1%} |"
        for way, apart in row["apart"].items()
    ]


def _stages(row: dict[str, Any]) -> list[str]:
    return [f"| {row['name']}: {stage} | {took:.2f} | |" for stage, took in row["stages"].items()]


def put_between(text: str, block: str) -> str:
    """A document with what lies between its two marks replaced.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no marks in the document; put {BEGIN} and {END} where the table is to be")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"
