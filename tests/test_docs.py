"""README and docs: every command in them runs here, or is marked; every link leads somewhere.

A block of commands is run unless a comment above it says why not: ``<!-- needs data: what -->``, or
``<!-- tested: tests/file.py -->`` where another test runs it. All options of all commands are checked either way.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import nibabel
import numpy as np
import pytest

import lesionsplit
from lesionsplit.cli import app
from lesionsplit.training.lungs.phantom_volumes import draw_chest
from lesionsplit.training.run import read_config

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
LINKED = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), *sorted((ROOT / "src").rglob("*.md"))]

BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```\w*\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)

GENERATED = {DOCS / "reference" / name for name in ("api.md", "cli.md", "settings.md")}
"""Pages that `docs/hooks.py` makes; the build of the site checks links to them."""

TINY = ("placement.rows=32", "placement.columns=48", "placement.frame=56", "training.steps=2", "training.batch_size=2")
"""Settings with which a documented training takes seconds."""


class Command(NamedTuple):
    page: Path
    mark: str | None
    words: tuple[str, ...]


def commands() -> list[Command]:
    """Every lesionsplit command in a block of a page that is not archived, in order."""
    found = []
    for page in PAGES:
        if "archive" in page.parts:
            continue
        for block in BLOCK.finditer(page.read_text()):
            for line in lines(block["text"]):
                words = tuple(shlex.split(line, comments=True))
                if words[:1] == ("lesionsplit",):
                    found.append(Command(page, block["mark"], tuple(word for word in words[1:] if word != "&")))
    return found


def lines(text: str) -> list[str]:
    """The commands of a block; a backslash continues one on the next line."""
    return re.sub(r"\\\n\s*", "", text).splitlines()


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_marks_are_of_the_two_kinds() -> None:
    for page, mark, _ in commands():
        if mark is not None:
            kind, _, what = mark.partition(": ")
            assert kind in {"needs data", "tested"}, (name(page), mark)
            assert what, (name(page), mark)
            assert kind == "needs data" or '"compare"' in (ROOT / what).read_text()


@pytest.mark.parametrize("words", sorted({one.words for one in commands()}), ids=shlex.join)
def test_every_command_and_option_exists(words: tuple[str, ...]) -> None:
    context = app.commands[words[0]].make_context(words[0], list(words[1:]))
    if words[0] == "train" and not context.params["resume"]:
        read_config(context.params["config"] or "distilled", context.params["overrides"])


@pytest.fixture
def workspace(tmp_path: Path, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that pages take for granted: a scan, two folders of slices, tiny teachers, a run."""
    save_scan(tmp_path / "scan.nii.gz")
    for label in ("normal", "lesion"):
        (tmp_path / "slices" / label).mkdir(parents=True)
        for image in (phantom_folder / "images").glob(f"{label}_*.png"):
            shutil.copy(image, tmp_path / "slices" / label)
    shutil.copytree(phantom_folder, tmp_path / "drawn")
    (tmp_path / "teacher.toml").write_text(
        "[placement]\nkind = 'lungs'\nrows = 32\ncolumns = 48\nframe = 56\n[method]\nname = 'diffusion'\n"
        "[method.network]\nchannels = [8, 8]\n[training]\nsteps = 2\nbatch_size = 2\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def save_scan(path: Path) -> None:
    slices = [draw_chest(np.random.default_rng(1), height)[0].T for height in (0.55, 0.5, 0.45)]
    nibabel.save(nibabel.Nifti1Image(np.stack(slices, axis=2), np.diag([-1.7, -1.7, 5.0, 1.0])), path)


def shrunk(words: tuple[str, ...]) -> list[str]:
    """The same command on little data, for a few steps."""
    found = list(words)
    if words[0] == "phantom":
        sizes = {"--normal": "18", "--lesion": "18", "--size": "128"}
        for option, value in sizes.items():
            found[found.index(option) + 1] = value
    if words[0] == "train" and "--resume" not in words:
        sets = [*TINY]
        if "--config" not in words:
            sets += ['method.distillation.teachers=["teacher.toml"]', "method.network.channels=[8, 8]"]
        found += [part for one in sets for part in ("--set", one)]
    return found


RUN = sorted({one.page for one in commands() if one.mark is None and one.page.name != "tutorial.md"})


@pytest.mark.parametrize("page", RUN, ids=name)
def test_commands_of_a_page_run(page: Path, workspace: Path) -> None:
    for one in commands():
        if one.page == page and one.mark is None:
            run_command(shrunk(one.words), workspace)


def test_the_tutorial_runs_as_printed_but_smaller(workspace: Path) -> None:
    shutil.rmtree(workspace / "slices")  # the tutorial makes all it needs
    shutil.rmtree(workspace / "drawn")
    text = (DOCS / "tutorial.md").read_text()
    for block in BLOCK.finditer(text):
        assert block["mark"] is None
        for line in lines(block["text"]):
            words = tuple(shlex.split(line, comments=True))
            if words[0] == "lesionsplit":
                run_command(shrunk(words[1:]), workspace)
            else:
                subprocess.run(line, shell=True, check=True, cwd=workspace)  # noqa: S602
    promised = re.findall(r"`((?:found|evaluation|run)/[\w./-]*\w\.\w+)`", text)
    assert {"found/lesion_8_overlay.png", "evaluation/worst.png"} <= set(promised)
    assert all((workspace / one).is_file() for one in promised)


def run_command(words: list[str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lesionsplit", *words], cwd=folder, capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == 0, f"lesionsplit {shlex.join(words)}\n{done.stderr}"


def test_the_readmes_python_runs(workspace: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    printed: list[tuple[Any, ...]] = []
    execute(code, {"print": lambda *values: printed.append(values)})
    ((highest, pixels, _),) = printed
    assert 0 < highest <= 1
    assert pixels > 0
    assert (workspace / "results").is_dir()


def test_the_python_how_to_runs(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_training_tiny(monkeypatch)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "how-to/python.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    for code in blocks:
        execute(code, {"print": lambda *_: None})
    assert (workspace / "run/weights.safetensors").is_file()


def test_the_notebook_runs(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / "scan.nii.gz").unlink()
    make_training_tiny(monkeypatch)
    cells = json.loads((DOCS / "notebook.ipynb").read_text())["cells"]
    printed: list[tuple[Any, ...]] = []
    variables: dict[str, Any] = {"print": lambda *values: printed.append(values)}
    for cell in cells:
        if cell["cell_type"] == "code":
            code = "".join(cell["source"])
            execute(re.sub(r"(normal|lesion)=\d+", r"\1=18", code).replace("size=256", "size=128"), variables)
    (shape, highest, _, _), (same,), (ours, _), (filter_, _) = printed
    assert shape == (256, 256, 8)
    assert 0 < highest <= 1
    assert same
    assert (ours, filter_) == ("lesionsplit", "opening")
    assert (workspace / "results/score.nii.gz").is_file()


def execute(code: str, variables: dict[str, Any]) -> None:
    exec(compile(code, "docs", "exec"), variables)  # noqa: S102


def make_training_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """`lesionsplit.train` as documented, but for two steps on a small canvas."""
    settings = {key.replace(".", "__"): int(value) for key, value in (one.split("=") for one in TINY)}
    tiny: Callable[..., Any] = partial(lesionsplit.train, **settings)
    monkeypatch.setattr(lesionsplit, "train", tiny, raising=False)


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        if "://" in target:
            continue
        there = (page.parent / target).resolve() if target else page
        if there in GENERATED:
            continue
        assert there.is_file(), target
        if heading:
            assert heading in headings(there), f"{target}#{heading}"


def headings(page: Path) -> set[str]:
    """The anchors of a page: lower case, no punctuation, a hyphen for each space."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in re.findall(r"^#+ (.*)$", text, re.M)}


def test_every_file_in_the_table_of_contributing_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|toml|j2|js|md))`", text)
    assert len(paths) > 60
    for path in paths:
        roots = (ROOT, ROOT / "src/lesionsplit", DOCS)
        assert any((root / path).is_file() for root in roots), path


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    assert isinstance(app, click.Group)
    assert all(f"lesionsplit {one}" in text or f"`{one}`" in text for one in app.commands)
    assert "make demo" in text
    assert "make test" in text


def test_one_version_everywhere() -> None:
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"version = {{{version}}}" in (DOCS / "citation.md").read_text()
    assert f"\n## {version} " in (ROOT / "CHANGELOG.md").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a warning."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_every_command_and_setting(site: Path) -> None:
    reference = (site / "reference/settings.html").read_text()
    assert "<code>training.<wbr>calibration_fpr</code>" in reference
    commands = (site / "reference/cli.html").read_text()
    assert all(f"lesionsplit {one}" in commands for one in app.commands)
    assert "columns mask_&lt;annotator&gt;" in commands
    assert "<code>--engine [torch&#124;onnx&#124;mindspore]</code>" in commands
    assert "130  interrupted" in commands
    assert commands.count("<code>-q, --quiet</code>") == 1
    assert "at most 4 294 967 295" in reference
    assert "<code>method.<wbr>synthetic_lesions.<wbr>lesions.<wbr>radius</code>" in reference


def test_the_page_of_the_api_starts_with_predict_and_lists_its_options(site: Path) -> None:
    page = (site / "reference/api.html").read_text()
    found = re.findall(r'<h2 id="lesionsplit\.([\w.]+)"', page)
    assert found[:3] == ["predict", "Predictor", "Result"]
    assert {*lesionsplit.__all__, "pipeline.options.PredictOptions"} == set(found)
    assert 'id="lesionsplit.pipeline.options.PredictOptions.lung_method"' in page
    assert "<blockquote>" not in page  # an example that is not in a section of its own
