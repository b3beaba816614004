"""The report on paper: whose scan, what was found, the pictures, what makes it doubtful, how it was made."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from PIL import Image

from lesionsplit.errors import SettingsError
from lesionsplit.measurements.result import LEFT_LUNG, LUNGS, RIGHT_LUNG, Measurements
from lesionsplit.measurements.tables import Described, described
from lesionsplit.report.pictures import key_slices
from lesionsplit.volumes.decomposed import DecomposedVolume

TITLE: Final = "Lesions in a chest CT, found automatically"
WARNING: Final = "Research use only, not for diagnosis. Nobody has reviewed this report."

REGIONS: Final = (LUNGS, RIGHT_LUNG, LEFT_LUNG)
MEASURES: Final = (
    *("lung_ml", "lesion_ml", "opacity_percent", "high_opacity_percent"),
    *("ground_glass_ml", "consolidation_ml", "lesion_mean_hu"),
)
"""Of each region, one below the other."""

LESION: Final = ("side", "volume_ml", "axial_diameter_mm", "axial_diameter_slice", "mean_hu")
MOST_LESIONS: Final = 10
CHARACTERS: Final = "cp1252"
"""What the standard fonts of PDF have; others become question marks."""


def report_pdf(
    findings: DecomposedVolume, measures: Measurements, provenance: Mapping[str, str], limits: Sequence[str]
) -> bytes:
    """The report as a PDF file; the same findings give the same bytes.

    Args:
        findings: the decomposed volume.
        measures: its measurements.
        provenance: whose scan it is, and how the result was made.
        limits: what the network is not for.

    Raises:
        SettingsError: reportlab is not installed.
    """
    try:
        from reportlab.lib.colors import HexColor
        from reportlab.lib.pagesizes import A4
        from reportlab.lib.styles import ParagraphStyle
        from reportlab.lib.units import mm
        from reportlab.platypus import Image as Picture
        from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table
    except ModuleNotFoundError:
        raise SettingsError("a PDF needs reportlab; it comes with: pip install 'lesionsplit[serve]'") from None

    ink, soft, line, warn = map(HexColor, ("#17212b", "#566473", "#dce2e8", "#8a5a00"))
    normal = ParagraphStyle("normal", fontName="Helvetica", fontSize=9, leading=12, textColor=ink)
    small = ParagraphStyle("small", parent=normal, fontSize=7.5, leading=9.5, textColor=soft)
    title = ParagraphStyle("title", parent=normal, fontName="Helvetica-Bold", fontSize=15, leading=19)
    heading = ParagraphStyle("heading", parent=normal, fontName="Helvetica-Bold", spaceBefore=8, spaceAfter=3)
    warning = ParagraphStyle("warning", parent=normal, fontName="Helvetica-Bold", textColor=warn)
    everywhere = (0, 0), (-1, -1)
    frame = [("LINEBELOW", *everywhere, 0.4, line), ("VALIGN", *everywhere, "TOP"), ("LEFTPADDING", (0, 0), (0, -1), 0)]

    def words(text: str, style: Any = normal) -> Any:
        return Paragraph(escape(text.encode(CHARACTERS, "replace").decode(CHARACTERS)), style)

    def table(rows: Sequence[Sequence[str]], widths: Sequence[float]) -> Any:
        cells = [[words(cell, normal if at else small) for cell in row] for at, row in enumerate(rows)]
        return Table(cells, colWidths=[width * mm for width in widths], style=frame, hAlign="LEFT")

    regions, _, lesions = described(measures)
    story: list[Any] = [words(TITLE, title), words(WARNING, warning), Spacer(1, 3 * mm)]
    whose = [(name, provenance[name]) for name in ("Patient", "Study", "Series") if name in provenance]
    if whose:
        story.append(table([("Whose", "as the slices state it"), *whose], (30, 150)))
    story += [words("What was found", heading), table(_of_regions(regions), (66, 38, 38, 38))]
    count = measures.lesion_count
    if count:
        shown = f", the {MOST_LESIONS} largest are listed" if count > MOST_LESIONS else ""
        story.append(words(f"{count} lesion{'s' if count != 1 else ''}{shown}", heading))
        story.append(table(_of_lesions(lesions), (20, 24, 34, 40, 30, 32)))
    picture = io.BytesIO()
    drawn = Image.fromarray(key_slices(findings))
    drawn.save(picture, "JPEG", quality=88)
    width = 180 * mm
    story += [Spacer(1, 4 * mm), Picture(picture, width, width * drawn.height / drawn.width)]
    if measures.notes:
        story += [words("What makes this doubtful", heading), *(words(f"- {note}") for note in measures.notes)]
    made = "; ".join(f"{name}: {value}" for name, value in provenance.items() if (name, value) not in whose)
    story += [words("How it was made", heading), words(made, small)]
    story += [words("What the network is not for", heading), *(words(f"- {limit}", small) for limit in limits)]
    content = io.BytesIO()
    margin = 15 * mm
    document = SimpleDocTemplate(
        content, pagesize=A4, title=TITLE, author="lesionsplit", invariant=1, pageCompression=0,
        leftMargin=margin, rightMargin=margin, topMargin=margin, bottomMargin=margin,
    )  # fmt: skip
    document.build(story)
    return content.getvalue()


def _of_regions(regions: Sequence[Described]) -> list[list[str]]:
    chosen = {one.definition.key: one for one in regions}
    rows = [["", *REGIONS]]
    for key in MEASURES:
        one = chosen[key]
        unit = f", {one.definition.unit}" if one.definition.unit else ""
        rows.append([f"{one.definition.name}{unit}", *(one.values[name] for name in REGIONS)])
    return rows


def _of_lesions(lesions: Sequence[Described]) -> list[list[str]]:
    chosen = {one.definition.key: one for one in lesions}
    columns = [chosen[key] for key in LESION]
    units = (f", {one.definition.unit}" if one.definition.unit else "" for one in columns)
    heads = ["lesion", *(f"{one.definition.name}{unit}" for one, unit in zip(columns, units, strict=True))]
    numbers = list(columns[0].values)[:MOST_LESIONS]
    return [heads, *([number, *(one.values[number] for one in columns)] for number in numbers)]
