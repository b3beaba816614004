"""The page of a node, used in headless Chromium: by mouse, by keyboard, on a phone, while series arrive."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lesionsplit.serve.jobs import State

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

playwright.expect.set_options(timeout=30_000)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium is installed", allow_module_level=True)

Series = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    errors: list[str] = []
    opened = browser.new_page(viewport={"width": 1200, "height": 800})
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.set_default_timeout(30_000)
    yield opened
    opened.close()
    assert errors == []


def line(page: Any, words: str) -> Any:
    return page.locator("li[data-series]", has_text=words)


def test_a_series_appears_and_changes_without_reload_and_its_report_opens(
    start: Any, series: Series, page: Any
) -> None:
    node = start()
    page.goto(node.url)
    assert page.locator(".empty").inner_text() == "No series has arrived yet."
    node.send(*series("lung"))
    line(page, "lung · 4").wait_for()
    playwright.expect(line(page, "lung · 4")).to_contain_text("done")
    text = line(page, "lung · 4").inner_text()
    assert "12.2 mL, 1.5 % of the lungs, 2 lesions" in text
    assert "Doe, Jane · P-4711 · 2020-04-01 · A-1" in text
    line(page, "lung · 4").locator("summary").click()
    assert page.get_by_text("odd mask").is_visible()
    node.send(*series("bones", 2))  # the list is replaced, and what was opened stays open
    line(page, "bones").wait_for()
    assert line(page, "lung · 4").get_by_text("odd mask").is_visible()
    page.get_by_role("link", name="lung · 4 slices").click()
    page.wait_for_url("**/report.html")
    assert page.get_by_text("A report").is_visible()


def test_a_failed_series_says_why_and_is_tried_again_by_a_button(start: Any, series: Series, page: Any) -> None:
    node = start()
    node.send(*series("bad"))
    job = node.job(State.FAILED)
    page.goto(node.url)
    playwright.expect(line(page, "bad")).to_contain_text("a bad thing")
    line(page, "bad").get_by_role("button", name="Again").click()
    playwright.expect(line(page, "bad")).to_contain_text("failed")
    assert node.job(State.FAILED).started > job.started


def test_it_works_without_scripts(start: Any, series: Series, browser: Any) -> None:
    node = start()
    node.send(*series("bad"))
    started = node.job(State.FAILED).started
    page = browser.new_page(java_script_enabled=False)
    page.goto(node.url)
    page.get_by_role("button", name="Again").click()
    page.wait_for_url(f"{node.url}/")
    page.close()
    assert node.job(State.FAILED).started > started


def test_the_keyboard_searches_and_goes_through_the_series(start: Any, series: Series, page: Any) -> None:
    node = start()
    for number, word in enumerate(("lung", "bones", "heart"), 1):
        node.send(*series(word, number))
        node.job(State.DONE, number)
    page.goto(node.url)
    page.keyboard.press("/")
    page.keyboard.type("bones")
    playwright.expect(page.locator("li[data-series]")).to_have_count(1)
    assert page.url.endswith("/?q=bones")
    page.reload()
    assert page.locator("li[data-series]").count() == 1
    page.locator("#words").fill("")
    playwright.expect(page.locator("li[data-series]")).to_have_count(3)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.querySelector('.title').textContent")
    assert focused == "bones · 4 slices"  # the newest is first
    node.send(*series("late", 4))
    line(page, "late").wait_for()
    focused = page.evaluate("document.activeElement.querySelector('.title').textContent")
    assert focused == "bones · 4 slices"  # the list was replaced, the focus stays
    page.locator("#words").fill("nothing like it")
    playwright.expect(page.locator(".empty")).to_have_text("No series has all of these words.")


def test_a_dropped_volume_is_predicted_and_words_are_refused(
    start: Any, page: Any, make: ModuleType, tmp_path: Path
) -> None:
    node = start()
    page.goto(node.url)
    page.locator("#file").set_input_files(make.make_nifti(tmp_path / "My scan.nii.gz"))
    playwright.expect(page.locator("#upload")).to_have_text("My scan.nii.gz: 1 file taken.")
    playwright.expect(line(page, "My scan.nii.gz")).to_contain_text("done")
    words = tmp_path / "notes.txt"
    words.write_text("some words")
    page.locator("#file").set_input_files(words)
    playwright.expect(page.locator("#upload.wrong")).to_contain_text("notes.txt: is not a DICOM file")
    drop = """() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(["words"], "dropped.txt"));
      document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(drop)
    playwright.expect(page.locator("#upload.wrong")).to_contain_text("dropped.txt: is not a DICOM file")


def test_a_node_that_has_gone_is_said(start: Any, page: Any) -> None:
    node = start()
    page.goto(node.url)
    node.node.end()
    playwright.expect(page.get_by_role("alert")).to_have_text("The node cannot be reached; this list may be old.")


def test_a_phone_shows_all_of_a_line(start: Any, series: Series, page: Any) -> None:
    node = start()
    node.send(*series("a series with a description that is as long as it may be", 1))
    node.job(State.DONE)
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto(node.url)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for part in (".state", ".title", ".found", ".when", "button"):
        box = page.locator(f"li[data-series] {part}").first.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
