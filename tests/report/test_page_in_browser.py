"""The page, opened from disk in headless Chromium and used."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lesionsplit.measurements.measure import measure
from lesionsplit.report.page import page as page_module
from lesionsplit.report.page.page import installed_viewer, write_page
from lesionsplit.volumes.decomposed import TOP, DecomposedVolume, levels_from
from lesionsplit.volumes.volume import Source, Volume

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium is installed", allow_module_level=True)

FLAGS = (
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),  # WebGL without a GPU
)
SHAPE = (48, 40, 16)
THRESHOLD = 0.3

needs_viewer = pytest.mark.skipif(installed_viewer() is None, reason="the package was built without the viewer")


def found() -> DecomposedVolume:
    i, j, k = np.indices(SHAPE)
    right = ((i - 13) / 9) ** 2 + ((j - 20) / 15) ** 2 + ((k - 8) / 7) ** 2 < 1
    left = ((i - 34) / 9) ** 2 + ((j - 20) / 15) ** 2 + ((k - 8) / 7) ** 2 < 1
    hu = np.where(right | left, -850, 40).astype(np.int16)
    score = np.where(right, np.clip(1.2 - np.hypot(np.hypot((i - 13) / 6, (j - 22) / 8), (k - 9) / 5), 0, 1), 0)
    levels = np.rint(score * TOP).astype(np.uint16)
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    source = Source(kind="nifti", path=Path("a.nii"), name="a")
    return DecomposedVolume(
        volume=Volume(array=(hu + 700 * score).astype(np.int16), affine=affine, intensity="hu", source=source),
        score=levels,
        lesion=(levels >= levels_from(THRESHOLD)).astype(np.uint8),
        lungs=(right + 2 * left).astype(np.uint8),
        healthy=hu,
        threshold=THRESHOLD,
        lungs_from="drawn by hand",
        notes=("Two slices are missing.",),
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, found(), measure(found()), heading="Case 1", card_limits=["Few."], provenance={"Version": "1"})
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@contextmanager
def opened(browser: Any, file: Path, *, wait: bool = True, script: str = "", **options: Any) -> Iterator[Any]:
    """The page, in a window of its own; fails where it logs an error or asks for anything but itself."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, **options)
    page = context.new_page()
    if script:
        page.add_init_script(script)
    errors: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    if wait and installed_viewer() is not None:
        page.wait_for_selector("#canvas[data-ready]", timeout=45_000)
        drawn(page, 1)
    yield page
    context.close()
    assert not errors
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [file.as_uri()]


@pytest.fixture(scope="module")
def shared(browser: Any, file: Path) -> Iterator[Any]:
    with opened(browser, file) as page:
        yield page


@pytest.fixture
def page(shared: Any) -> Any:
    """One window for all that leaves no trace: state is put back by each test."""
    return shared


def drawn(page: Any, times: int) -> None:
    """Wait until the viewer has drawn so many times."""
    page.wait_for_function("n => Number(document.getElementById('canvas').dataset.drawn ?? 0) >= n", arg=times)


def after(page: Any, act: Any) -> None:
    """Do something to the viewer and wait until it is drawn."""
    before = int(page.locator("#canvas").get_attribute("data-drawn"))
    act()
    drawn(page, before + 1)


def settle(page: Any) -> None:
    """Wait until what was asked for is drawn: it is at once, or with the next frame."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def picture(page: Any, selector: str) -> npt.NDArray[np.int16]:
    image = Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB")
    return np.asarray(image).astype(np.int16)


def coloured(pixels: npt.NDArray[np.int16]) -> int:
    """Pixels of the outline's colour, light blue: the crosshair and words are not that bright and blue."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    return int(np.count_nonzero((blue > 200) & (green > 170) & (red < 120)))


def slide(page: Any, name: str, value: float) -> None:
    page.locator(f"#{name}").fill(f"{value:g}")


@needs_viewer
def test_the_opacity_fades_the_heat_map(page: Any) -> None:
    page.check("input[value=axial]")
    after(page, lambda: page.uncheck("#mask"))
    full = picture(page, "#canvas")
    after(page, lambda: slide(page, "opacity", 0))
    none = picture(page, "#canvas")
    after(page, lambda: slide(page, "opacity", 25))
    some = picture(page, "#canvas")
    changed = np.abs(full - none).sum(axis=-1) > 40
    assert changed.sum() > 500
    red, _, blue = (none[changed][:, channel] for channel in range(3))
    assert np.abs(red - blue).max() <= 3  # without it the lesion is grey
    between = np.abs(some - none)[changed].sum() / np.abs(full - none)[changed].sum()
    assert 0.4 < between < 0.6  # 25 of 50 %
    assert page.locator("#opacity-out").inner_text() == "25 %"
    after(page, lambda: slide(page, "opacity", 50))
    after(page, lambda: page.check("#mask"))


@needs_viewer
def test_the_threshold_moves_the_outline_and_the_volume(page: Any) -> None:
    findings = found()
    page.check("input[value=axial]")
    after(page, lambda: slide(page, "opacity", 0))
    low = coloured(picture(page, "#canvas"))
    assert "(as reported)" in page.locator("#volumes").inner_text()
    after(page, lambda: slide(page, "threshold", 0.8))
    high = coloured(picture(page, "#canvas"))
    millilitres = np.count_nonzero(findings.score >= levels_from(0.8)) * 0.02
    words = page.locator("#volumes").inner_text()
    assert f"{millilitres:.2f} mL" in words or f"{millilitres:.1f} mL" in words
    assert "as reported" not in words
    after(page, lambda: page.uncheck("#mask"))
    assert 100 < high < 0.8 * low
    assert coloured(picture(page, "#canvas")) < 0.5 * high
    page.check("#mask")
    after(page, lambda: page.click("#reset"))
    reported = measure(findings).region("both lungs").lesion_ml
    assert f"{reported:.1f} mL" in page.locator("#volumes").inner_text()
    assert page.locator("#threshold").input_value() == "0.3"
    assert page.locator("#reset").is_disabled()
    after(page, lambda: slide(page, "opacity", 50))


@needs_viewer
def test_windows_and_planes_change_the_picture(page: Any) -> None:
    page.check("input[value=axial]")
    lung = picture(page, "#canvas")
    page.check("input[name=window] >> nth=1")
    settle(page)
    soft = picture(page, "#canvas")
    assert soft.mean() < lung.mean() - 10  # lungs turn black
    page.check("input[name=window] >> nth=0")
    page.check("input[value=coronal]")
    settle(page)
    assert np.abs(picture(page, "#canvas") - lung).mean() > 5
    page.check("input[value=all]")


@needs_viewer
def test_3_d_is_drawn_turns_and_leaves_the_slices_as_they_were(page: Any) -> None:
    page.check("input[value=axial]")
    settle(page)
    before = picture(page, "#canvas")
    page.check("input[value=render]")
    settle(page)
    front = picture(page, "#canvas")
    assert (front.max(axis=-1) > 40).sum() > 2000
    page.focus("#canvas")
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert np.abs(picture(page, "#canvas") - front).max(axis=-1).astype(bool).sum() > 1000
    page.check("input[value=axial]")
    page.evaluate("document.activeElement.blur()")
    settle(page)
    assert np.abs(picture(page, "#canvas") - before).mean() < 0.5


@needs_viewer
def test_the_viewer_goes_to_a_lesion_and_listens_to_arrow_keys(page: Any) -> None:
    page.select_option("#goal", index=1)
    x, y, z = measure(found()).lesions[0].centre_ras_mm
    right, front, up = position(page)
    assert (right, front, up) == pytest.approx((x, y, z), abs=3)  # half a voxel: 1, 1, 2.5 mm
    page.focus("#canvas")
    page.keyboard.press("ArrowUp")
    assert position(page)[2] == pytest.approx(up + 5, abs=1)
    page.keyboard.press("ArrowRight")
    assert position(page)[0] == pytest.approx(right - 2, abs=1)  # the patient's left is on the right
    readout = page.locator("#readout").inner_text()
    assert re.search(r"−?\d+ HU", readout)
    assert re.search(r"score 0\.\d\d|score 1\.00", readout)


def position(page: Any) -> tuple[float, float, float]:
    words = page.locator("#readout").inner_text().replace("−", "-")
    numbers = re.match(r"R (-?\d+), A (-?\d+), S (-?\d+) mm", words)
    assert numbers is not None, words
    right, front, up = map(float, numbers.groups())
    return right, front, up


def wiped(page: Any) -> str:
    return str(page.locator("#stage").evaluate("stage => getComputedStyle(stage).getPropertyValue('--wipe')"))


def test_the_wipe_uncovers_the_healthy_version(page: Any) -> None:
    page.uncheck("#show-outline")
    slide(page, "wipe", 100)
    original = picture(page, "#stage")
    slide(page, "wipe", 0)
    healthy = picture(page, "#stage")
    lesion = original[..., 0] - healthy[..., 0] > 40
    assert lesion.sum() > 1000
    assert healthy[lesion].mean() == pytest.approx((1350 - 850) / 1500 * 255, abs=12)
    box = page.locator("#stage").bounding_box()
    middle = box["y"] + 0.3 * box["height"]
    page.mouse.move(box["x"] + 5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], middle, steps=3)
    page.mouse.up()
    assert float(wiped(page).rstrip("%")) == pytest.approx(25, abs=0.5)
    half = picture(page, "#stage")
    width = half.shape[1]
    rows = lesion.any(axis=1)
    assert np.abs(half - original)[rows, : int(0.2 * width)].mean() < 1
    assert np.abs(half - healthy)[rows, int(0.3 * width) : int(0.9 * width)].mean() < 1
    page.check("#show-outline")
    slide(page, "wipe", 50)


def test_the_stage_listens_to_the_keyboard(page: Any) -> None:
    page.focus("#stage")
    before = page.locator("#which").inner_text()
    page.keyboard.press("ArrowLeft")
    assert wiped(page) == "48%"
    page.keyboard.press("Shift+ArrowRight")
    assert wiped(page) == "58%"
    assert page.locator("#wipe-out").inner_text() == "58 %"
    page.keyboard.press("ArrowUp")
    above = page.locator("#which").inner_text()
    assert number(above) > number(before)
    page.keyboard.press("Home")
    assert page.locator("#previous").is_disabled()
    page.keyboard.press("End")
    assert page.locator("#next").is_disabled()
    page.focus("#wipe")
    page.keyboard.press("ArrowLeft")
    assert wiped(page) == "57%"
    slide(page, "wipe", 50)


def number(words: str) -> int:
    found = re.match(r"Slice (\d+) of 16", words)
    assert found is not None
    return int(found.group(1))


def test_a_slice_of_the_montage_comes_to_the_stage(page: Any) -> None:
    tile = page.locator(".tile").nth(2)
    tile.locator(".pick").click()
    assert tile.locator(".pick").get_attribute("aria-pressed") == "true"
    assert page.locator(".pick[aria-pressed=true]").count() == 1
    assert number(page.locator("#which").inner_text()) == int(tile.get_attribute("data-number"))
    assert page.locator("#stage-healthy").get_attribute("src") == tile.locator("img.healthy").get_attribute("src")
    page.click("#next")
    assert page.locator(".tile").nth(3).locator(".pick").get_attribute("aria-pressed") == "true"


def test_side_by_side(page: Any) -> None:
    page.check("input[value=beside]")
    left, right = (page.locator(f"#stage-{name}").bounding_box() for name in ("original", "healthy"))
    assert right["x"] >= left["x"] + left["width"]
    assert not page.locator("#wipe-label").is_visible()
    page.check("input[value=wipe]")
    assert page.locator("#wipe-label").is_visible()


def test_heat_map_and_outline_are_shown_as_ticked(page: Any) -> None:
    for name in ("heat", "outline"):
        for act, shown in (("check", "visible"), ("uncheck", "hidden")):
            getattr(page, act)(f"#show-{name}")
            seen = page.locator(f"#stage-{name}").evaluate("image => getComputedStyle(image).visibility")
            assert seen == shown
    page.check("#show-outline")


def ground(page: Any) -> int:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


def test_dark_and_light(page: Any) -> None:
    assert ground(page) > 700
    page.click("#theme")
    assert ground(page) < 100
    assert page.locator("#theme").get_attribute("aria-label") == "Switch to light colours"
    page.click("#theme")
    assert ground(page) > 700
    page.emulate_media(color_scheme="dark")
    assert ground(page) > 700  # the reader's choice stands
    page.emulate_media(color_scheme="light")


def test_every_control_has_a_name_and_shows_its_focus(page: Any) -> None:
    controls = page.locator("button:visible, input:visible, select:visible, [tabindex='0']:visible")
    assert controls.count() > 20
    names = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas, svg, [tabindex='0']")].filter(
            (one) => !(one.getAttribute("aria-label") || one.labels?.[0]?.textContent.trim() || one.textContent.trim())
        ).map((one) => one.outerHTML)"""
    )
    assert names == []
    page.focus("#theme")
    page.keyboard.press("Tab")
    for _ in range(8):
        outline = page.evaluate(
            """() => { const one = document.activeElement;
            const shown = one.closest(".choice") ? one.nextElementSibling : one;
            return getComputedStyle(shown).outlineStyle; }"""
        )
        assert outline not in ("none", "")
        page.keyboard.press("Tab")


def test_on_paper_there_are_pictures_and_numbers_but_no_sliders(page: Any) -> None:
    page.emulate_media(media="print")
    for selector in ("#compare", "#volume", "input", "#theme", "canvas"):
        assert page.locator(f"{selector}:visible").count() == 0
    assert page.locator("img.original:visible").count() == page.locator("img.healthy:visible").count() - 0 > 0
    assert page.locator("#montage img.healthy").first.is_visible()
    assert page.locator("#numbers table").first.is_visible()
    assert page.get_by_text("For research. Not for diagnosis.").first.is_visible()
    page.emulate_media(media="screen")


def test_dark_where_the_system_is(browser: Any, file: Path) -> None:
    with opened(browser, file, wait=False, color_scheme="dark") as page:
        assert ground(page) < 100
        assert page.locator("#theme").inner_text() == "Light"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_it_fits_narrow_screens(width: int, page: Any) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.set_viewport_size({"width": 1200, "height": 900})
    assert wider <= 0


@needs_viewer
def test_without_webgl_the_rest_works(browser: Any, file: Path) -> None:
    script = """const get = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
      return kind.startsWith("webgl") ? null : get.call(this, kind, ...rest);
    };"""
    with opened(browser, file, wait=False, script=script) as page:
        words = page.locator("#viewer-absent").inner_text()
        assert words.startswith("The volume viewer is not available: this browser has no WebGL 2")
        assert not page.locator("#viewer").is_visible()
        works(page)


def test_without_the_viewer_the_rest_works(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "installed_viewer", lambda: None)
    path = tmp_path / "report.html"
    write_page(path, found(), measure(found()), heading="Case 1", card_limits=[], provenance={})
    with opened(browser, path, wait=False) as page:
        assert page.get_by_text("built without the viewer").is_visible()
        works(page)


def works(page: Any) -> None:
    page.focus("#stage")
    page.keyboard.press("ArrowLeft")
    assert wiped(page) == "48%"
    page.locator(".pick").first.click()
    assert page.locator("#previous").is_disabled()


def test_without_scripts_slices_and_numbers_are_there(browser: Any, file: Path) -> None:
    with opened(browser, file, wait=False, java_script_enabled=False) as page:
        assert page.locator("#montage img.healthy").first.is_visible()
        assert page.get_by_text("Percentage of opacity").first.is_visible()
        assert not page.locator("#compare").is_visible()
        assert not page.locator("#theme").is_visible()


def test_what_the_scripts_read_is_there(file: Path) -> None:
    text = file.read_text("utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))  # type: ignore[union-attr]
    scripts = Path(page_module.__file__).parent
    used = {
        name
        for script in ("page.js", "viewer.js")
        for name in re.findall(r"data\.(\w+)", (scripts / script).read_text())
    }
    assert used == data.keys()
