from __future__ import annotations

import base64
import gzip
import io
import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom import Dataset
from scipy import ndimage

from lesionsplit.errors import DataError
from lesionsplit.images import resize
from lesionsplit.measurements.measure import measure
from lesionsplit.report.page import embed as embedding
from lesionsplit.report.page import page as page_module
from lesionsplit.report.page.embed import Embedded, embed
from lesionsplit.report.page.numbers import with_unit
from lesionsplit.report.page.page import installed_viewer, write_page
from lesionsplit.report.page.slices import LONGEST, MOST_GREY, MOST_HEAT, slice_images
from lesionsplit.report.page.summary import Box, Survey, most_affected, survey
from lesionsplit.report.page.window import LUNG, window_of
from lesionsplit.tiles import overlay_tile
from lesionsplit.volumes.decomposed import EDGE, TOP, DecomposedVolume, LeftOut, levels_from
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

Array = npt.NDArray[Any]

SHAPE = (60, 50, 24)
SPACING = np.array([2.0, 2.0, 5.0])
THRESHOLD = 0.3
SCRIPTS = 6
"""Elements: the data, two volumes, the viewer's library, its use, the page's own."""


def found(affine: Array | None = None, **changes: Any) -> DecomposedVolume:
    """A body with two lungs and a ball of lesion in the right one, in LPS order: (columns, rows, slices)."""
    i, j, k = np.indices(SHAPE)
    right = ((i - 16) / 11) ** 2 + ((j - 25) / 18) ** 2 + ((k - 12) / 10) ** 2 < 1
    left = ((i - 43) / 11) ** 2 + ((j - 25) / 18) ** 2 + ((k - 12) / 10) ** 2 < 1
    hu = np.where(right | left, -850, 40).astype(np.int16)
    far = np.sqrt(((i - 15) / 5) ** 2 + ((j - 28) / 6) ** 2 + ((k - 14) / 4) ** 2)
    score = np.where(right, np.clip(1.1 - far, 0, 1), 0)
    levels = np.rint(score * TOP).astype(np.uint16)
    sick = (hu + 700 * score * right).astype(np.int16)
    if affine is None:
        affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
        affine[:3, 3] = (60.0, 50.0, -300.0)
    intensity = changes.pop("intensity", "hu")
    source = changes.pop("source", Source(kind="nifti", path=Path("case.nii"), name="case"))
    return DecomposedVolume(
        volume=Volume(array=changes.pop("array", sick), affine=affine, intensity=intensity, source=source),
        score=changes.pop("score", levels),
        lesion=changes.pop("lesion", (levels >= levels_from(THRESHOLD)).astype(np.uint8)),
        lungs=(right + 2 * left).astype(np.uint8),
        healthy=changes.pop("healthy", hu),
        threshold=THRESHOLD,
        lungs_from="drawn by hand",
        **changes,
    )


def written(folder: Path, findings: DecomposedVolume, **changes: Any) -> str:
    given: dict[str, Any] = {"heading": "Case 1", "card_limits": ["Seen few cases."], "provenance": {"Version": "1.2"}}
    path = folder / "report.html"
    write_page(path, findings, measure(findings), **{**given, **changes})
    return path.read_text("utf-8")


class Parsed(HTMLParser):
    """Elements, and the text that a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.hidden: dict[str, str] = {}
        self._within: list[str] = []
        self._name = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within.append(tag)
        if tag in ("script", "style"):
            self._name = dict(attrs).get("id") or f"{tag} {len(self.hidden)}"

    def handle_endtag(self, tag: str) -> None:
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._within and self._within[-1] in ("script", "style"):
            self.hidden[self._name] = self.hidden.get(self._name, "") + data
        else:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("page"), found(notes=("The lungs touch the edge.",)))


@pytest.fixture(scope="module")
def parsed(page: str) -> Parsed:
    return Parsed(page)


def test_it_asks_for_nothing_outside_itself(parsed: Parsed) -> None:
    sources = ("src", "href", "action", "data", "poster", "srcset")
    for tag, attributes in parsed.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "video", "audio")
        for name in sources:
            assert re.match(r"data:image/|#|$", attributes.get(name) or ""), (tag, name)
    for name, text in parsed.hidden.items():
        if name in ("ct", "score"):
            assert re.fullmatch(r"[A-Za-z0-9+/=]+", text)
        elif not text.startswith("/*\nNiiVue"):
            code = re.sub(r"(?m)^\s*//.*$", "", text)
            assert not re.search(r"https?:|//|@import|url\(", code), name
    policy = next(attributes["content"] for _, attributes in parsed.elements if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_it_says_what_it_is_for(parsed: Parsed) -> None:
    assert parsed.words.count("For research. Not for diagnosis.") >= 2
    for words in ("Case 1", "Seen few cases.", "Version 1.2", "The lungs touch the edge.", "Drawn by hand"):
        assert words in parsed.words


def test_its_numbers_are_those_of_the_voxels(parsed: Parsed) -> None:
    findings = found()
    lesion = np.count_nonzero(findings.lesion)
    lung = np.count_nonzero(findings.lungs)
    assert f"Lesion volume {lesion * 0.02:.2f} mL" in parsed.words  # a voxel has 2 x 2 x 5 mm
    assert f"Share of both lungs {100 * lesion / lung:.2f} %" in parsed.words
    assert f"Zone score {measure(findings).zone_score} of 24 estimated: thirds of each lung's height" in parsed.words
    assert "CT severity score (0 to 25) not computed: no lobes" in parsed.words
    assert "Percentage of opacity" in parsed.words
    assert "Share of the lung volume that is lesion." in parsed.words
    worst = int(np.count_nonzero(findings.lesion, axis=(0, 1)).argmax())
    assert f"Most affected slice {worst + 1} of 24" in parsed.words
    assert f"Slice {worst + 1} of 24 · z {-300 + 5 * worst:.1f} mm".replace("-", "−") in parsed.words


def test_the_volume_at_each_threshold_is_counted_at_full_resolution(parsed: Parsed) -> None:
    findings, data = found(), json.loads(parsed.hidden["data"])
    steps = len(data["volumes"]) - 1
    for place in (1, 37, 60, 199, 200):
        voxels = np.count_nonzero(findings.score >= levels_from(place / steps))
        assert data["volumes"][place] == pytest.approx(voxels * 0.02, abs=1e-3)
    assert data["lesion"] == pytest.approx(np.count_nonzero(findings.lesion) * 0.02)


def test_what_others_wrote_stays_words(tmp_path: Path) -> None:
    hostile = "</script></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}"
    findings = found(notes=(hostile,))
    findings = replace(findings, lungs_from=hostile)
    page = written(tmp_path, findings, heading=hostile, card_limits=[hostile], provenance={hostile: hostile})
    parsed = Parsed(page)
    assert [tag for tag, _ in parsed.elements].count("script") == (SCRIPTS if installed_viewer() else 2)
    assert not any("onerror" in attributes for _, attributes in parsed.elements)
    assert parsed.words.count(" ".join(hostile.split())) == 7  # title, head, note, lungs, limit, provenance twice


def test_nothing_of_the_files_headers_gets_into_it(tmp_path: Path) -> None:
    header = Dataset()
    header.PatientName, header.PatientID, header.StudyDate = "Zwiebel^Fischl", "ID-47110815", "20200401"
    source = Source(
        kind="dicom", path=Path("/klinikum/Zwiebel_Fischl/ct"), name="Zwiebel_Fischl", instances=(header,) * 24
    )
    page = written(tmp_path, found(source=source))
    everything = page.encode()
    parsed = Parsed(page)
    for name in ("ct", "score"):
        everything += gzip.decompress(base64.b64decode(parsed.hidden.get(name, base64.b64encode(gzip.compress(b"")))))
    for planted in (b"Zwiebel", b"Fischl", b"47110815", b"20200401", b"klinikum"):
        assert planted not in everything


def test_8_bit_values_are_not_called_hu(tmp_path: Path) -> None:
    grey = ((found().volume.array.astype(np.float64) + 1024) / 1500 * 255).astype(np.uint8)
    page = Parsed(written(tmp_path, found(intensity="grey", array=grey, healthy=grey)))
    assert "not available: no HU" in page.words
    assert "Soft tissue" not in page.words
    assert json.loads(page.hidden["data"])["windows"] == [{"low": 29.0, "high": 180.0}]


def test_one_slice_of_unknown_size(tmp_path: Path) -> None:
    whole = found()
    one = {name: getattr(whole, name)[..., 14:15] for name in ("score", "lesion", "lungs", "healthy")}
    source = Source(kind="image", path=Path("a.png"), name="a")
    volume = Volume(array=whole.volume.array[..., 14:15], affine=whole.volume.affine, intensity="hu", source=source)
    page = Parsed(written(tmp_path, replace(whole, volume=volume, **one)))
    assert "60 × 50 × 1 voxels of unknown size" in page.words
    assert not re.search(r"\d m[mL]", page.words.partition("Numbers and what they mean")[0])
    assert "not available: pixels of unknown size" in page.words


def test_no_lesion_is_said_and_slices_are_shown_all_the_same(tmp_path: Path) -> None:
    nothing = np.zeros(SHAPE, np.uint16)
    page = Parsed(written(tmp_path, found(score=nothing, lesion=nothing.astype(np.uint8))))
    assert "Slices (no lesion was found)" in page.words
    assert "most affected " not in page.words.partition("Numbers and what they mean")[0].partition("Slices (no")[2]
    assert sum(attributes.get("class") == "tile" for _, attributes in page.elements) == 12


def test_a_page_without_the_viewer_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "installed_viewer", lambda: None)
    page = Parsed(written(tmp_path, found()))
    assert "The volume viewer is not available: this installation of lesionsplit was built without" in page.words
    assert not {"ct", "score"} & page.hidden.keys()
    assert "Numbers and what they mean" in page.words


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    findings = found()
    with pytest.raises(DataError, match=r"report\.html: cannot be written"):
        write_page(
            tmp_path / "file" / "report.html", findings, measure(findings), heading="", card_limits=[], provenance={}
        )


def test_arrays_on_disk_give_the_same_page(page: str, tmp_path: Path) -> None:
    whole = found(notes=("The lungs touch the edge.",))
    with Scratch(tmp_path) as scratch:
        arrays = {}
        for name, array in {
            "array": whole.volume.array,
            "score": whole.score,
            "lesion": whole.lesion,
            "lungs": whole.lungs,
            "healthy": whole.healthy,
        }.items():
            arrays[name] = scratch.array(array.shape, array.dtype)
            arrays[name][:] = array
        volume = replace_volume(whole.volume, arrays.pop("array"))
        assert written(tmp_path, replace(whole, volume=volume, **arrays)) == page


def replace_volume(volume: Volume, array: Array) -> Volume:
    return Volume(array=array, affine=volume.affine, intensity=volume.intensity, source=volume.source)


def unpacked(text: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def oblique() -> Array:
    angle = np.deg2rad(25)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-2.0, -2.0, 5.0])
    affine[:3, 3] = (10.0, -20.0, 35.0)
    return affine


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize(
    "affine",
    [
        np.diag([-2.0, -2.0, 5.0, 1.0]),
        np.array([[2.0, 0, 0, 7], [0, 2.0, 0, -3], [0, 0, -5.0, 90], [0, 0, 0, 1]]),
        np.array([[0, 0, 2.0, 5], [2.0, 0, 0, 1], [0, -2.0, 0, 8], [0, 0, 0, 1]]),
        oblique(),
    ],
    ids=["LPS", "flipped", "sagittal", "oblique"],
)
def test_the_viewers_volume_lies_where_the_input_lies(
    affine: Array, coarse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if coarse:
        monkeypatch.setattr(embedding, "SIZES", ((20, 7),))
    findings = found(affine=affine)
    embedded = embed(findings, survey(findings).box)
    ct, score = unpacked(embedded.ct), unpacked(embedded.score)
    np.testing.assert_allclose(ct.affine, score.affine)
    assert ct.shape == score.shape == embedded.shape
    weights = findings.score / TOP
    places = np.argwhere(weights > 0)
    there = nib.affines.apply_affine(affine, np.average(places, axis=0, weights=weights[weights > 0]))
    squares = score.get_fdata() ** 2
    here = nib.affines.apply_affine(
        score.affine, np.average(np.argwhere(squares > 0), axis=0, weights=squares[squares > 0])
    )
    assert np.linalg.norm(there - here) < (0.2 if not coarse else 3.0)
    air = ct.get_fdata()[tuple(np.rint(np.linalg.inv(ct.affine) @ affine @ [43, 25, 12, 1]).astype(int)[:3])]
    assert air == pytest.approx(-850, abs=1424 / 255)
    np.testing.assert_allclose(embedded.spacing, np.linalg.norm(ct.affine[:3, :3], axis=0))


def test_a_thin_lesion_does_not_fade_where_slices_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "SIZES", ((256, 4),))
    score = np.zeros(SHAPE, np.uint16)
    score[10:20, 20:30, 13] = TOP
    embedded = embed(found(score=score), Box(slices=(0, 24), rows=(0, 50), columns=(0, 60)))
    assert embedded.shape == (60, 50, 4)
    assert unpacked(embedded.score).get_fdata().max() == pytest.approx(1)


def noise(shape: tuple[int, int, int]) -> DecomposedVolume:
    random = np.random.default_rng(0)
    hu = random.integers(-1024, 400, shape, dtype=np.int16)
    score = random.integers(0, TOP + 1, shape, dtype=np.uint16)
    source = Source(kind="nifti", path=Path("noise.nii"), name="noise")
    volume = Volume(array=hu, affine=np.diag([-0.7, -0.7, 1.0, 1.0]), intensity="hu", source=source)
    lungs = np.ones(shape, np.uint8)
    lesion = (score >= levels_from(0.5)).astype(np.uint8)
    return DecomposedVolume(
        volume=volume, score=score, lesion=lesion, lungs=lungs, healthy=hu, threshold=0.5, lungs_from="nowhere"
    )


def test_a_page_of_noise_is_no_larger_than_promised(tmp_path: Path) -> None:
    findings = noise((320, 300, 90))
    seen = survey(findings)
    embedded = embed(findings, seen.box)
    assert len(embedded.ct) + len(embedded.score) <= embedding.MOST_BYTES
    one = slice_images(findings, seen, 3, LUNG)
    for uri, most in ((one.original, MOST_GREY), (one.healthy, MOST_GREY), (one.heat, MOST_HEAT)):
        assert len(base64.b64decode(uri.partition(",")[2])) <= most
    outline = len(one.outline)
    viewer = installed_viewer()
    library = len(viewer.script) if viewer else 0
    pictures = page_module.MOST_SLICES * ((2 * MOST_GREY + MOST_HEAT) * 4 / 3 + outline)
    assert library + embedding.MOST_BYTES + pictures < 11.9e6


def decoded(uri: str) -> Array:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"), dtype=float)


def test_pictures_show_the_slice_and_what_was_found_in_it() -> None:
    findings = found()
    seen = survey(findings)
    one = slice_images(findings, seen, 14, LUNG)
    assert one.number == 15
    assert one.position_mm == pytest.approx(-300 + 14 * 5)
    assert max(one.width, one.height) == LONGEST
    (top, bottom), (left, right) = seen.box.rows, seen.box.columns
    cut = (slice(top, bottom), slice(left, right))
    assert one.width / one.height == pytest.approx((right - left) / (bottom - top), rel=0.01)
    shape = (one.height, one.width)
    original, healthy, score = (
        resize(np.ascontiguousarray(array[..., 14].T[cut]).astype(np.float32), shape)
        for array in (findings.volume.array, findings.healthy, findings.score)
    )
    for uri, values in ((one.original, original), (one.healthy, healthy)):
        grey = np.clip((values + 1350) / 1500, 0, 1) * 255
        assert np.abs(decoded(uri)[..., 0] - grey).mean() < 2
    heat = decoded(one.heat)
    share = heat[..., 3:] / 255
    assert np.abs(share[..., 0] - 0.5 * np.sqrt(score / TOP)).max() < 0.01
    colours = overlay_tile(np.zeros(shape, np.float32), (score / TOP).astype(np.float32)) / 0.75
    strong = score > 0.3 * TOP  # over black, what `overlay_tile` lays over is its colour, dimmed
    dimmed = heat[..., :3] * np.sqrt(score / TOP)[..., None]
    assert np.abs(dimmed - colours)[strong].max() <= 8  # steps of 64 colours

    edge = decoded(one.outline)[..., 3] > 0
    scale = LONGEST / max(bottom - top, right - left)
    filled = ndimage.binary_fill_holes(edge)
    assert np.count_nonzero(filled) == pytest.approx(np.count_nonzero(findings.lesion[..., 14]) * scale**2, rel=0.03)
    assert np.count_nonzero(edge) < 0.2 * np.count_nonzero(filled)
    centre = (np.argwhere(findings.lesion[..., 14]).mean(axis=0)[::-1] - (top, left) + 0.5) * scale
    np.testing.assert_allclose(np.argwhere(filled).mean(axis=0) + 0.5, centre, atol=1)


def counted(lesion: list[int], lungs: list[int] | None = None) -> Survey:
    numbers = np.array(lesion)
    return Survey(
        lungs=np.array(lungs) if lungs else np.full(len(lesion), 100),
        lesion=numbers,
        peak=numbers,
        levels=np.zeros(TOP + 1, np.int64),
        box=Box(slices=(0, 1), rows=(0, 1), columns=(0, 1)),
    )


def test_the_most_affected_slices_are_not_all_neighbours() -> None:
    lesion = [0, 1, 5, 9, 8, 7, 0, 0, 3, 0]
    assert most_affected(counted(lesion), 4.0, 3) == [8, 5, 3]  # 4 is within 8 mm of 3
    assert most_affected(counted(lesion), 10.0, 3) == [5, 4, 3]
    assert most_affected(counted(lesion), 4.0, 12) == [8, 5, 4, 3, 2, 1]  # room for neighbours


def test_without_lesion_slices_are_spread_over_the_lungs() -> None:
    lungs = [0] * 5 + [10] * 8 + [0] * 3
    assert most_affected(counted([0] * 16, lungs), 1.0, 4) == [12, 10, 8, 6]
    assert most_affected(counted([0] * 3, [9] * 3), 1.0, 12) == [2, 1, 0]


def test_grey_values_are_shown_from_their_own_lowest_to_their_own_highest() -> None:
    array = np.tile(np.linspace(10, 110, 1001, dtype=np.float32)[:, None, None], (1, 2, 3))
    source = Source(kind="image", path=Path("a.png"), name="a")
    volume = Volume(array=array, affine=np.diag([-1.0, -1, 1, 1]), intensity="grey", source=source)
    shown = window_of(volume)
    assert (shown.low, shown.high) == pytest.approx((10.5, 109.5))
    flat = Volume(array=np.full((4, 4, 1), 7, np.uint8), affine=np.eye(4), intensity="grey", source=source)
    assert (window_of(flat).low, window_of(flat).high) == (7, 8)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.004, "0.00 mL"), (9.994, "9.99 mL"), (9.996, "10.0 mL"), (99.96, "100 mL"), (3781.6, "3782 mL")],
)
def test_large_numbers_have_three_figures(value: float, words: str) -> None:
    assert with_unit(value, "mL") == words


@pytest.fixture(scope="module")
def hook(load: Callable[[str], ModuleType]) -> ModuleType:
    if not (Path(__file__).parents[2] / "hatch_build.py").is_file():
        pytest.skip("the build hook is not here")
    return load("hatch_build.py")


def test_no_viewer_without_npm(hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(hook.ViewerError, match="npm is not installed"):
        hook.fetch_viewer(tmp_path / "vendor")
    assert not (tmp_path / "vendor").exists()


def fake_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("script", "line"),
    [("exit 7", "npm pack ended with 7 and left 0 archives"), ('echo no > "$4/a.tgz"', "the archive has SHA-512")],
)
def test_no_viewer_from_an_npm_that_fails_or_an_archive_that_was_changed(
    script: str, line: str, hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path, script, monkeypatch)
    with pytest.raises(hook.ViewerError, match=line):
        hook.fetch_viewer(tmp_path / "vendor")
    assert not (tmp_path / "vendor").exists()


def test_one_file_of_the_archive_is_kept_with_its_licence(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "made.tgz"
    with tarfile.open(archive, "w:gz") as files:
        for name, content in (("package/dist/niivue.umd.js", b"the viewer"), ("../evil", b"out of the folder")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            files.addfile(member, io.BytesIO(content))
    digest = hook.hashlib.sha512(archive.read_bytes()).digest()
    monkeypatch.setattr(hook, "INTEGRITY", base64.b64encode(digest).decode())
    fake_npm(tmp_path, f'cp {archive} "$4/a.tgz"', monkeypatch)
    hook.fetch_viewer(tmp_path / "vendor")
    assert {path.name: path.read_bytes()[:10] for path in (tmp_path / "vendor").iterdir()} == {
        "niivue.umd.js": b"the viewer",
        "LICENSE-niivue": b"NiiVue 0.6",
    }
    fake_npm(tmp_path, "exit 1", monkeypatch)
    assert hook.fetch_viewer(tmp_path / "vendor").read_bytes() == b"the viewer"  # there already: npm is not asked


def test_embedded_is_small_for_what_is_small() -> None:
    findings = found()
    embedded = embed(findings, survey(findings).box)
    assert isinstance(embedded, Embedded)
    assert len(embedded.ct) + len(embedded.score) < 100_000


def test_what_was_left_out_is_listed_with_its_reason(tmp_path: Path) -> None:
    one = LeftOut(
        cause=EDGE,
        volume_ml=2.4,
        side="left",
        mean_hu=-332.7,
        centre_ras_mm=(-10.0, 5.0, -200.0),
        first_slice=4,
        last_slice=6,
    )
    page = Parsed(written(tmp_path, found(left_out=(one,)))).words
    assert f"2.40 left 4 to 6 −333 {EDGE.capitalize()}" in page
    assert "1 finding of 2.4 mL left out as probably normal" in page
    assert "Left out, probably normal: 2.40 mL, left lung" in page
    assert "Left out" not in Parsed(written(tmp_path, found())).words
