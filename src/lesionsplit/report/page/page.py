"""`report.html`: a case as one file that opens from disk and asks the network for nothing.

The volume with its heat map (`embed`, shown by NiiVue where the package was built with it), the slices
with most lesion beside their healthy version (`slices`), the numbers and what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from lesionsplit.images import write_bytes
from lesionsplit.measures.result import Measures
from lesionsplit.report.page.context import context
from lesionsplit.report.page.embed import embed
from lesionsplit.report.page.slices import slice_pictures
from lesionsplit.report.page.survey import most_affected, survey
from lesionsplit.report.page.window import window_of
from lesionsplit.volumes.findings import Findings

MOST_SLICES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The script that shows volumes, and its licence."""

    script: str
    licence: str


def write_page(
    path: Path,
    findings: Findings,
    measures: Measures,
    *,
    heading: str,
    card_limits: Sequence[str],
    provenance: Mapping[str, str],
) -> None:
    """Write the page of a case; at most some 12 MB, whatever the volume.

    Nothing of the files' headers gets into it: neither names nor dates, only what is passed here,
    the pictures and the grid.

    Args:
        path: the file to write.
        findings: the volume taken apart; read a few slices at a time.
        measures: its numbers.
        heading: what the page calls the case.
        card_limits: sentences of the model card about what the model cannot do.
        provenance: what made the page, such as the version and the weights' hash, in the order to be shown.

    Raises:
        DataError: the file cannot be written.
    """
    seen = survey(findings)
    shown = window_of(findings.volume)
    chosen = most_affected(seen, findings.volume.axial_spacing[0], MOST_SLICES)
    slices = [slice_pictures(findings, seen, number, shown) for number in chosen]
    viewer = installed_viewer()
    embedded = embed(findings, seen.box) if viewer else None
    page = _template().render(
        **context(findings, measures, seen, slices, embedded, shown),
        heading=heading,
        card_limits=list(card_limits),
        provenance=list(provenance.items()),
        style=_inlined("page.css"),
        script=_inlined("page.js"),
        viewer_script=_inlined("viewer.js"),
        vendor=_licenced(viewer) if viewer else "",
    )
    write_bytes(path, page.encode("utf-8"))


def installed_viewer() -> Viewer | None:
    """The viewer that the package was built with, None where it was built without."""
    folder = files("lesionsplit.report.page") / "vendor"
    script, licence = folder / "niivue.umd.js", folder / "LICENSE-niivue"
    if not script.is_file() or not licence.is_file():
        return None
    return Viewer(script=script.read_text("utf-8"), licence=licence.read_text("utf-8"))


def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((files("lesionsplit.report.page") / "page.html.j2").read_text("utf-8"))


def _inlined(name: str) -> Markup:
    """A style or script of ours, as it is: it is no data, and holds no end of its element."""
    return Markup((files("lesionsplit.report.page") / name).read_text("utf-8"))  # noqa: S704


def _licenced(viewer: Viewer) -> Markup:
    """The viewer's script under its licence, so that it cannot end its element early."""
    licence = viewer.licence.replace("*/", "* /")
    return Markup(f"/*\n{licence}*/\n" + viewer.script.replace("</script", "<\\/script"))  # noqa: S704
