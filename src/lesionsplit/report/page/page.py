"""`report.html`: a case as one file that opens from disk and loads nothing from the network.

The volume with its heat map (`embed`, shown by NiiVue where the package was built with it), the slices
with most lesion beside their healthy version (`slices`), the numbers and what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from lesionsplit.images import write_bytes
from lesionsplit.measurements.result import Measurements
from lesionsplit.report.html import environment, inlined
from lesionsplit.report.page.context import context
from lesionsplit.report.page.embed import embed
from lesionsplit.report.page.numbers import is_missing
from lesionsplit.report.page.slices import slice_images
from lesionsplit.report.page.summary import most_affected, survey
from lesionsplit.report.page.window import window_of
from lesionsplit.volumes.decomposed import DecomposedVolume

PACKAGE = "lesionsplit.report.page"

MOST_SLICES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The script that shows volumes, and its licence."""

    script: str
    licence: str


def write_page(
    path: Path,
    findings: DecomposedVolume,
    measures: Measurements,
    *,
    heading: str,
    card_limits: Sequence[str],
    provenance: Mapping[str, str],
) -> None:
    """Write the page of a case; at most about 12 MB for any volume.

    The page has nothing from the files' headers, neither names nor dates: only the arguments, the images and the grid.

    Args:
        path: the file to write.
        findings: the decomposed volume; read a few slices at a time.
        measures: its numbers.
        heading: name of the case on the page.
        card_limits: sentences of the model card about what the model cannot do.
        provenance: origin of the page, such as the version and the hash of the weights, in the order shown.

    Raises:
        DataError: the file cannot be written.
    """
    seen = survey(findings)
    shown = window_of(findings.volume)
    chosen = most_affected(seen, findings.volume.axial_spacing[0], MOST_SLICES)
    slices = [slice_images(findings, seen, number, shown) for number in chosen]
    viewer = installed_viewer()
    embedded = embed(findings, seen.box) if viewer else None
    page = (
        environment(PACKAGE)
        .get_template("page.html.j2")
        .render(
            **context(findings, measures, seen, slices, embedded, shown),
            missing=is_missing,
            heading=heading,
            card_limits=list(card_limits),
            provenance=list(provenance.items()),
            style=inlined(PACKAGE, "page.css"),
            script=inlined(PACKAGE, "page.js"),
            viewer_script=inlined(PACKAGE, "viewer.js"),
            vendor=_licenced(viewer) if viewer else "",
        )
    )
    write_bytes(path, page.encode("utf-8"))


def installed_viewer() -> Viewer | None:
    """The viewer with which the package was built; None for a package without viewer."""
    folder = files(PACKAGE) / "vendor"
    script, licence = folder / "niivue.umd.js", folder / "LICENSE-niivue"
    if not script.is_file() or not licence.is_file():
        return None
    return Viewer(script=script.read_text("utf-8"), licence=licence.read_text("utf-8"))


def _licenced(viewer: Viewer) -> Markup:
    """The viewer's script below its licence, escaped so that it cannot end its element early."""
    licence = viewer.licence.replace("*/", "* /")
    return Markup(f"/*\n{licence}*/\n" + viewer.script.replace("</script", "<\\/script"))  # noqa: S704
