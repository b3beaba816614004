"""What the site shows beside the pages in docs/: the command line, the API, the settings, the notebook, files above.

MkDocs calls `on_files` and `on_page_markdown`; everything else makes one page each.
"""

from __future__ import annotations

import ast
import html
import inspect
import json
import posixpath
import re
import textwrap
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import msgspec
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import lesionsplit
from lesionsplit.cli import app
from lesionsplit.settings import Settings
from lesionsplit.training.run import RunSettings

ROOT = Path(__file__).parents[1]

ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "docs/notebook.ipynb": "notebook.md",
    "src/lesionsplit/weights/default.md": "reference/weights-default.md",
    "src/lesionsplit/weights/lungs.md": "reference/weights-lungs.md",
}
"""Files of the repository that are pages of the site under another name."""

MOST_USED = ("predict", "Predictor", "Result", "Runtime", "train", "evaluate", "compare")
"""Names of the API that come first on its page."""

LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from code and from files outside docs/."""
    made: dict[str, Callable[[], str]] = {
        "reference/cli.md": command_line,
        "reference/api.md": api,
        "reference/settings.md": settings,
        "notebook.md": notebook,
    }
    for path, make in made.items():
        files.append(File.generated(config, path, content=make()))
    for source, path in ELSEWHERE.items():
        if source.endswith(".md") and source != "README.md":
            text = relink((ROOT / source).read_text(), source, path)
            files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Point links that leave docs/ at the page that stands for the file."""
    path = page.file.src_uri
    return markdown if page.file.generated_by else relink(markdown, f"docs/{path}", path)


def relink(text: str, source: str, page: str) -> str:
    """Links of a file of the repository, as links of the page that it becomes."""

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        there = ELSEWHERE.get(target, target.removeprefix("docs/"))
        if there == target:
            raise PluginError(f"{source}: links to {match[1]}, which is no page of the site")
        return f"]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{match[2] or ''})"

    return LINK.sub(link, text)


def command_line() -> str:
    """Every command with its help and its options."""
    lines = [
        "# Command line",
        "",
        "`lesionsplit COMMAND --help` prints the same. `-v`, `-q` and `--debug` apply to every",
    ]
    lines += ["command and can stand before or after its name.", ""]
    lines += _command(app, "lesionsplit", 2)
    return "\n".join(lines)


def _command(command: click.Command, name: str, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    usage = " ".join((name, *command.collect_usage_pieces(context)))
    yield from (f"{'#' * level} `{name}`", "", "```text", usage, "```", "")
    help_text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    yield from (_escaped(help_text), "")
    shared = [] if command is app else [parameter.name for parameter in app.params]
    parameters = [one for one in command.get_params(context) if one.name not in shared and "--help" not in one.opts]
    records = [record for one in parameters if (record := one.get_help_record(context)) and all(record)]
    if records:
        yield from ("| option | meaning |", "|---|---|")
        yield from (f"| {_code(option)} | {_escaped(text)} |" for option, text in records)
        yield ""
    if command.epilog:
        yield from ("```text", inspect.cleandoc(command.epilog.removeprefix("\b\n")), "```", "")
    if isinstance(command, click.Group):
        for below in sorted(command.commands):
            yield from _command(command.commands[below], f"{name} {below}", level)


def _escaped(text: str) -> str:
    """Plain text as Markdown in a table: ``<`` and ``|`` are themselves, code in backticks stays code."""
    return re.sub(r"`[^`]*`|[<|]", lambda found: {"<": "&lt;", "|": "&#124;"}.get(found[0], found[0]), text)


def _code(text: str) -> str:
    """Code in a table, where backticks would not keep a ``|``."""
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def api() -> str:
    """The names that `import lesionsplit` offers, the most used first, and the options of a prediction."""
    others = sorted(set(lesionsplit.__all__) - set(MOST_USED), key=lambda name: (name.endswith("Error"), name.lower()))
    names = [*MOST_USED, "pipeline.options.PredictOptions", *others]
    return "# Python API\n\n```python\nimport lesionsplit as ls\n```\n\n" + "\n\n".join(
        f"::: lesionsplit.{name}" for name in names
    )


def settings() -> str:
    """Every setting of `lesionsplit train`, from the structs that read it."""
    lines = ["# Settings", ""]
    lines += ["A settings file is TOML. Any setting can be changed on the command line: `--set training.steps=500`."]
    lines += ["An unknown key, a wrong type or a value out of range is an error.", ""]
    fields = {field.name: field for field in msgspec.structs.fields(RunSettings)}
    lines += ["## Top level", "", *HEAD, *_rows(RunSettings, "", nested=False), ""]
    for name, field in fields.items():
        kinds = _structs(field.type)
        for kind in kinds:
            tag = f' name = "{kind.__struct_config__.tag}"' if len(kinds) > 1 else ""
            summary = inspect.cleandoc(kind.__doc__ or "")
            lines += [f"## `[{name}]{tag}`", "", summary, "", *HEAD, *_rows(kind, f"{name}."), ""]
    return "\n".join(lines)


HEAD = ("| setting | default | allowed | meaning |", "|---|---|---|---|")


def _rows(
    kind: type[Settings], prefix: str, defaults: Any = None, *, nested: bool = True, only: str = ""
) -> Iterator[str]:
    """``only``: where the settings apply, after their names."""
    documented = _docstrings(kind)
    for field in msgspec.structs.fields(kind):
        value = field.default if defaults is None else getattr(defaults, field.name)
        if below := _structs(field.type):
            if nested:
                yield from _below(below, f"{prefix}{field.name}.", value, documented.get(field.name, ""))
            continue
        default = "required" if value is msgspec.NODEFAULT else f"`{json.dumps(msgspec.to_builtins(value))}`"
        text = _escaped(" ".join(documented.get(field.name, "").split()))
        name = _code(prefix + field.name).replace(".", ".<wbr>")
        yield f"| {name}{only} | {default} | {_allowed(msgspec.inspect.type_info(field.type))} | {text} |"


def _below(kinds: list[type[Settings]], prefix: str, value: Any, text: str) -> Iterator[str]:
    """The rows of a table within a table; where it is one of several, each after its name."""
    if len(kinds) == 1:
        yield from _rows(kinds[0], prefix, None if value is msgspec.NODEFAULT else value)
        return
    tags = {str(one.__struct_config__.tag): one for one in kinds}
    name = _code(f"{prefix}name").replace(".", ".<wbr>")
    allowed = ", ".join(f"`{tag}`" for tag in sorted(tags))
    yield f'| {name} | `"{value.__struct_config__.tag}"` | {allowed} | {_escaped(" ".join(text.split()))} |'
    for tag, one in tags.items():
        yield from _rows(one, prefix, value if type(value) is one else None, only=f", with {tag}")


def _structs(kind: Any) -> list[type[Settings]]:
    info = msgspec.inspect.type_info(kind)
    infos = info.types if isinstance(info, msgspec.inspect.UnionType) else [info]
    return [one.cls for one in infos if isinstance(one, msgspec.inspect.StructType)]


def _docstrings(kind: type[Settings]) -> dict[str, str]:
    """The string under each field of a class, which Python itself throws away."""
    found: dict[str, str] = {}
    for parent in reversed([one for one in kind.__mro__ if issubclass(one, Settings)]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(parent)))
        body = tree.body[0].body  # type: ignore[attr-defined]
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[field.target.id] = str(text.value.value)  # type: ignore[union-attr]
    return found


def _allowed(info: Any) -> str:
    name = type(info).__name__.removesuffix("Type")
    if name == "Literal":
        return ", ".join(f"`{value}`" for value in sorted(info.values, key=str))
    if name == "Union":
        return " or ".join(_allowed(one) for one in info.types)
    if name == "VarTuple":
        return f"list; each a {_allowed(info.item_type)}"
    if name == "Tuple":
        return f"{len(info.item_types)} values: {_allowed(info.item_types[0])}"
    words = {"Int": "whole number", "Float": "number", "Str": "text", "Bool": "true or false", "None": "nothing"}
    limits = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [
        f"{word} {_number(getattr(info, key))}" for key, word in limits.items() if getattr(info, key, None) is not None
    ]
    return ", ".join((words.get(name, name.lower()), *found))


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if value >= 10_000 else f"{value:g}"


def notebook() -> str:
    """The notebook's cells, as a page."""
    cells = json.loads((ROOT / "docs/notebook.ipynb").read_text())["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join([*parts, "[Download the notebook](notebook.ipynb)"])
