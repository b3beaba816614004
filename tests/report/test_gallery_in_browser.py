"""The page of a folder of images, opened from disk in headless Chromium and used."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesionsplit.report.gallery.gallery import pictured, write_gallery

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium is installed", allow_module_level=True)

THRESHOLD = 0.6
CYAN = (0, 229, 255)


def write(path: Path, highest: dict[str, float]) -> Path:
    """Grey images, whose heat maps are a square of a score on 0.3."""
    images = []
    for name, score in highest.items():
        heat = np.full((40, 60), 0.3, dtype=np.float32)
        heat[10:20, 30:50] = score
        lesion = score >= THRESHOLD
        image = np.full((40, 60), 100, dtype=np.uint8)
        image[0] = 120
        images.append(pictured(name, image, heat, slice_score=score, lesion=lesion, lesion_fraction=0.08 * lesion))
    found = sum(score >= THRESHOLD for score in highest.values())
    write_gallery(
        path,
        images,
        heading=f"{len(images)} images",
        threshold=THRESHOLD,
        counts=(found, len(images) - found),
        table="predictions.csv",
        provenance=[("weights", "a.safetensors")],
    )
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    errors: list[str] = []
    opened = browser.new_page(viewport={"width": 1100, "height": 700})
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda one: None if one.url.startswith(("file:", "data:")) else errors.append(one.url))
    file = write(tmp_path / "images.html", {"a.png": 0.2, "b.png": 0.9, "c<i>.png": 0.7})
    opened.goto(file.as_uri())
    drawn(opened, 3)
    yield opened
    opened.close()
    assert not errors


def drawn(page: Any, count: int) -> None:
    page.wait_for_function(
        "count => [...document.querySelectorAll('figure canvas')].filter(one => "
        "one.getContext('2d').getImageData(5, 30, 1, 1).data[3] === 255).length === count",
        arg=count,
    )


def pixel(page: Any, figure: int, row: int, column: int) -> tuple[int, ...]:
    return tuple(
        page.evaluate(
            "([figure, row, column]) => [...document.querySelectorAll('figure canvas')[figure].getContext('2d')"
            ".getImageData(column, row, 1, 1).data].slice(0, 3)",
            [figure, row, column],
        )
    )


def slide(page: Any, floor: float) -> None:
    page.evaluate(
        "floor => { const one = document.getElementById('floor'); one.value = floor; "
        "one.dispatchEvent(new Event('input')); }",
        floor,
    )


def grey(colour: tuple[int, ...]) -> bool:
    return max(colour) - min(colour) <= 3


def test_images_are_sorted_by_score_and_counted(page: Any) -> None:
    assert page.locator("figcaption b").all_inner_texts() == ["b.png", "c<i>.png", "a.png"]
    assert "2 with lesion, 1 without" in page.inner_text("p")
    assert page.get_attribute("p a", "href") == "predictions.csv"


def test_heat_is_drawn_from_the_floor_on_and_nothing_below(page: Any) -> None:
    assert grey(pixel(page, 0, 30, 5))
    assert not grey(pixel(page, 0, 15, 40))
    assert grey(pixel(page, 2, 15, 40))  # an image without lesion has no haze
    slide(page, 0.25)
    assert not grey(pixel(page, 0, 30, 5))
    assert page.inner_text("#floor-value") == page.inner_text("#scale-from") == "0.250"
    slide(page, 0.95)
    assert grey(pixel(page, 0, 15, 40))


def test_the_outline_is_where_the_threshold_is_and_can_be_turned_off(page: Any) -> None:
    slide(page, 0.95)
    assert pixel(page, 0, 10, 40) == CYAN
    assert grey(pixel(page, 0, 8, 40))
    page.uncheck("#outline")
    assert grey(pixel(page, 0, 10, 40))
    slide(page, 0.25)
    page.uncheck("#heat")
    assert grey(pixel(page, 0, 15, 40))


def test_one_kind_of_image_can_be_shown(page: Any) -> None:
    page.select_option("#which", "no")
    assert [one.is_visible() for one in page.locator("figure").all()] == [False, False, True]
    assert page.locator("#nothing").is_hidden()


def test_where_nothing_is_found_it_says_so(browser: Any, tmp_path: Path) -> None:
    opened = browser.new_page(viewport={"width": 390, "height": 800})
    opened.goto(write(tmp_path / "images.html", {"a.png": 0.2}).as_uri())
    drawn(opened, 1)
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")  # a phone
    opened.select_option("#which", "yes")
    assert opened.locator("#nothing").is_visible()
    opened.close()
