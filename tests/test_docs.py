"""What README and docs tell people to type works."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from lesionsplit.cli import app
from lesionsplit.run import read_config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "src").rglob("*.md"))]


def commands() -> list[str]:
    found = []
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            found += [line.partition("#")[0].strip() for line in lines if line.startswith("lesionsplit ")]
    return sorted(set(found))


def test_there_are_commands() -> None:
    assert len(commands()) >= 5


@pytest.mark.parametrize("line", commands())
def test_every_command_is_one(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = app.commands[name]
    context = command.make_context(name, arguments, resilient_parsing=False)
    if name == "train" and not context.params["resume"]:
        read_config(context.params["config"] or "distilled", context.params["overrides"])


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        if "://" in target:
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), target
        if heading:
            assert heading in headings(there), f"{target}#{heading}"


def headings(page: Path) -> set[str]:
    """What links name the headings of a page by: in small letters, without punctuation, a hyphen for each space."""
    titles = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE), re.M
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_file_in_the_table_of_contributing_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for path in re.findall(r"`((?:\w+/)*\w+\.py)`", text):
        assert (
            list((ROOT / "src/lesionsplit").glob(path)) or list((ROOT / "tests").glob(path)) or (ROOT / path).exists()
        ), path


def test_the_readmes_python_runs(tmp_path: Path, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "slices").mkdir()
    shutil.copy(phantom_folder / "images/lesion_1.png", tmp_path / "slices/1.png")
    monkeypatch.chdir(tmp_path)
    printed: list[tuple[object, ...]] = []
    exec(compile(code, "README.md", "exec"), {"print": lambda *values: printed.append(values)})  # noqa: S102
    assert len(printed) == 1
    assert 0 <= printed[0][0] <= 1  # type: ignore[operator]


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    assert isinstance(app, click.Group)
    assert all(f"lesionsplit {name}" in text or name == "phantom" for name in app.commands)
    assert "make demo" in text
    assert "make test" in text
