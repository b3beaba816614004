from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from lesionsplit.comparison.examples import Examples, examples_of
from lesionsplit.comparison.result import Comparison
from lesionsplit.data.table import Table
from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.report.comparison import paper, plots, report
from lesionsplit.report.comparison.names import shown_name, styles
from lesionsplit.report.comparison.report import write_comparison
from lesionsplit.report.comparison.unbiased import drops, sentences

Make = Callable[..., Comparison]


class Page(HTMLParser):
    """Tables as rows of words, and what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.numbers: dict[str, list[list[str]]] = {}
        self.words = ""
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "srcset"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag == "table":
            self.tables.append([])
            self.numbers[dict(attrs).get("id") or ""] = self.tables[-1]
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        self.words += data
        if self._cell:
            self.tables[-1][-1][-1] += data


def read(folder: Path, name: str = "report.html") -> Page:
    return Page((folder / name).read_text("utf-8"))


def write(folder: Path, comparison: Comparison) -> list[Path]:
    return write_comparison(folder, comparison, examples_of(comparison))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib."""
    monkeypatch.setattr(plots, "find_spec", lambda _: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, comparison: Comparison, examples: Examples) -> Path:
    folder = tmp_path_factory.mktemp("out") / "comparison"
    written = write_comparison(folder, comparison, examples)
    assert sorted(written) == sorted(folder.iterdir())  # nothing half written is left either
    return folder


def test_all_that_was_promised_is_written(folder: Path) -> None:
    drawn = ("figure-2-curves", "figure-3-dice", "figure-4-curves", "unbiased", "differences")
    expected = {f"{name}.{kind}" for name in drawn for kind in ("png", "svg")}
    expected |= {"figure-2-slices.png", "figure-4-slices.png", "report.html", "paper.html"}
    expected |= {"table.csv", "table.md", "table.tex", "differences.csv"}
    assert {path.name for path in folder.iterdir()} == expected
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.verify()


@pytest.mark.parametrize("name", ["report.html", "paper.html"])
def test_pages_ask_for_nothing_but_each_other(folder: Path, name: str) -> None:
    page = read(folder, name)
    outside = [one for one in page.references if not one.startswith(("data:image/", "#"))]
    assert outside == [{"report.html": "paper.html", "paper.html": "report.html"}[name]]
    text = re.sub(r"data:image/[^\"]+", "", (folder / name).read_text("utf-8"))
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "<script" not in text
    assert "url(" not in text
    assert {one[1:] for one in page.references if one.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("name", ["report.html", "paper.html"])
def test_upper_bounds_are_labelled_in_every_table(folder: Path, name: str) -> None:
    page = read(folder, name)
    seen = 0
    for table in page.tables:
        for row in table:
            for cell in row:
                for annotator in re.findall(r"supervised-([ab])", cell):
                    assert f"supervised-{annotator} (upper bound: masks of {annotator})" in cell
                    seen += 1
    assert seen >= 2
    assert not re.search(r"supervised-[ab](?! \(upper bound)", (folder / "table.md").read_text())


def test_numbers_on_the_page_are_the_evaluations(folder: Path, comparison: Comparison) -> None:
    table = read(folder).numbers["against"]
    start = [row[0] for row in table].index("against annotator b")
    (row,) = [row for row in table[start:] if row[0] == "opening"][:1]
    expected = comparison.evaluation.methods["opening"]["b"]
    for cell, estimate in ((row[1], expected["average_precision"]), (row[6], expected["dice_stored"])):
        assert cell == f"{estimate.value:.3f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def test_a_tile_for_each_method_and_slice(folder: Path) -> None:
    methods, ablations = (table for table in read(folder).tables if table[0][0].startswith("outlined by"))
    assert [len(row) for row in methods] == [7] * 4
    assert [len(row) for row in ablations] == [4] * 4


@pytest.mark.usefixtures("undrawn")
def test_names_are_escaped(
    slices: Table, make_comparison: Make, make_entry: Callable[..., object], tmp_path: Path
) -> None:
    entries = (make_entry("decomposition", note="<b>&amp;"), make_entry("cam"))
    config = {"title": "<script>alert(1)</script> & co", "examples": 1}
    write(tmp_path, make_comparison(slices, entries, config=config, seeds=False))
    text = (tmp_path / "report.html").read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in text
    assert "&lt;b&gt;&amp;amp;" in text


def test_one_annotator_and_two_methods(
    slices: Table,
    make_comparison: Make,
    make_entry: Callable[..., object],
    only_judged_by: Callable[..., Table],
    tmp_path: Path,
) -> None:
    entries = (make_entry("decomposition"), make_entry("opening", untrained="opening"))
    write(tmp_path, make_comparison(only_judged_by(slices, "b"), entries, seeds=False))
    page = read(tmp_path)
    assert report.NO_ABLATIONS in page.words
    assert report.ONE_SEED in page.words
    assert "Masks of 1 annotator only" in page.words
    assert not (tmp_path / "figure-4-slices.png").exists()
    assert not (tmp_path / "figure-4-curves.svg").exists()
    assert "upper bound: masks" not in page.words
    assert "BL" in read(tmp_path, "paper.html").words
    assert "not in this comparison" in read(tmp_path, "paper.html").words


def test_the_reference_alone(
    slices: Table, make_comparison: Make, make_entry: Callable[..., object], tmp_path: Path
) -> None:
    write(tmp_path, make_comparison(slices, (make_entry("cam"),), reference="cam", seeds=False))
    assert report.NO_DIFFERENCES in read(tmp_path).words
    assert not (tmp_path / "differences.png").exists()
    assert (tmp_path / "differences.csv").read_text().count("\n") == 1


@pytest.mark.usefixtures("undrawn")
def test_without_normal_slices(
    slices: Table, make_comparison: Make, make_entry: Callable[..., object], tmp_path: Path
) -> None:
    entries = (make_entry("decomposition"), make_entry("supervised-a"))
    write(tmp_path, make_comparison(slices.labelled("lesion"), entries, threshold=None, seeds=False))
    page = read(tmp_path)
    assert "Not measured on this data: Dice, stored threshold." in page.words
    assert "No last column: there is no stored threshold" in page.words
    assert "false positive fraction of normal lung" not in [cell for table in page.tables for cell in table[0]]


def test_without_masks(slices: Table, make_comparison: Make, make_entry: Callable[..., object], tmp_path: Path) -> None:
    entries = (make_entry("decomposition"), make_entry("cam"), make_entry("no-critic", figure="ablations"))
    write(tmp_path, make_comparison(slices.without_masks(), entries, seeds=False))
    page = read(tmp_path)
    assert report.NO_MASKS in page.words
    assert not list(tmp_path.glob("*.svg"))
    assert (tmp_path / "figure-4-slices.png").exists()
    assert report.NO_MASKS in read(tmp_path, "paper.html").words


@pytest.mark.usefixtures("undrawn")
def test_without_matplotlib(comparison: Comparison, tmp_path: Path) -> None:
    written = write(tmp_path, comparison)
    assert plots.WITHOUT in read(tmp_path).words
    assert {path.name for path in written if path.suffix in (".png", ".svg")} == {
        "figure-2-slices.png",
        "figure-4-slices.png",
    }


def test_the_same_comparison_makes_the_same_files(folder: Path, comparison: Comparison, tmp_path: Path) -> None:
    for drawing in list(plots.drawings(comparison))[1:3]:
        _, written = plots.write_plot(tmp_path, drawing)
        for path in written:
            assert path.read_bytes() == (folder / path.name).read_bytes()


def test_styles_tell_entries_apart_and_upper_bounds_are_dashed(comparison: Comparison) -> None:
    found = styles(comparison)
    assert len({(style.colour, style.marker) for style in found.values()}) == len(found)
    assert {label for label, style in found.items() if style.line == "--"} == {"supervised-a", "supervised-b"}
    assert {label for label, style in found.items() if style.line == "-."} == {"opening"}
    assert max(found.values(), key=lambda style: style.width).name == "decomposition"
    for one in comparison.shown():
        assert shown_name(one) == found[one.label].name


def test_the_papers_numbers_are_as_printed() -> None:
    printed = {one.paper: one.value for one in paper.AREAS}
    assert printed["our approach"] == "0.63"
    assert printed["BL"] == "0.36"
    assert printed["Grad-CAM"] == "0.179"
    assert printed["CAM"] == "0.061"
    assert printed["VA-GAN"] == paper.CURVE


def test_sentences_follow_the_intervals(comparison: Comparison) -> None:
    """The sentences depend on the numbers."""
    found = drops(comparison)
    assert [(drop.one.label, drop.other) for drop in found] == [("supervised-a", "b"), ("supervised-b", "a")]

    def about(estimate: Estimate) -> str:
        return sentences(comparison, [replace(found[0], beside=estimate)])[0]

    assert "it favours its own annotator" in about(Estimate(0.1, 0.05, 0.15))
    assert "it favours the other annotator" in about(Estimate(-0.1, -0.15, -0.05))
    assert "no bias is shown, and a bias within the interval is not excluded" in about(Estimate(0.1, -0.05, 0.15))
    assert "no conclusion" in about(Estimate(0.1))
    assert about(Estimate(0.1, 0.05, 0.15)) == (
        "supervised-a (upper bound: masks of a): average precision against its own annotator less that against "
        "another, less the same of decomposition, which was trained without masks: +0.100 [+0.050, +0.150] for b (it "
        "favours its own annotator more than decomposition)."
    )
    assert "once" not in sentences(comparison, found)[-1]  # the reference has two seeds


def test_a_row_is_labelled_where_the_reference_itself_saw_masks(
    slices: Table, make_comparison: Make, make_entry: Callable[..., object]
) -> None:
    entries = (make_entry("supervised-a"), make_entry("supervised-b"))
    comparison = make_comparison(slices, entries, reference="supervised-a", seeds=False)
    said = sentences(comparison, drops(comparison))
    assert not any("which was trained without masks" in one for one in said)
    assert not any(one.startswith("Against annotator") for one in said)
    assert "each entry was trained once" in said[-1]
