"""images.html beside predictions.csv, from the files that a prediction has written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from lesionsplit.data.kind import ImageKind
from lesionsplit.errors import LesionsplitError
from lesionsplit.images import as_float, read_grey
from lesionsplit.pipeline.slice_files import slice_files
from lesionsplit.report.gallery.gallery import MOST, Pictured, pictured, write_gallery

PAGE = "images.html"


def write_image_page(
    out: Path,
    rows: Mapping[str, Mapping[str, str]],
    kind: ImageKind,
    *,
    table: str,
    manifest: Mapping[str, str | float],
) -> Path:
    """Write the page of all predictions in a folder; returns its path.

    Args:
        out: the folder.
        rows: of predictions.csv, by the path of the image.
        kind: of the images.
        table: name of predictions.csv.
        manifest: how the predictions were made.

    Raises:
        DataError: the page cannot be written.
    """
    ordered = sorted(rows.values(), key=lambda row: -float(row["slice_score"]))
    lesion = sum(row["lesion"] == "yes" for row in ordered)
    write_gallery(
        out / PAGE,
        _pictures(out, ordered[:MOST], kind),
        heading=f"{len(ordered)} image{'s' * (len(ordered) != 1)}",
        threshold=float(manifest["threshold"]),
        counts=(lesion, len(ordered) - lesion),
        table=table,
        provenance=[(name, str(value)) for name, value in manifest.items()],
    )
    return out / PAGE


def _pictures(out: Path, rows: list[Mapping[str, str]], kind: ImageKind) -> Iterator[Pictured]:
    for row in rows:
        path = Path(row["slice"])
        try:
            image = read_grey(path) if kind.of_lungs else kind.pixels(path)
            score = as_float(read_grey(slice_files(out, path.stem)["score"]))
        except LesionsplitError:  # moved or removed since: its row is in the table
            continue
        if score.shape == image.shape[:2]:
            yield pictured(
                path.name,
                image,
                score,
                slice_score=float(row["slice_score"]),
                lesion=row["lesion"] == "yes",
                lesion_fraction=float(row["lesion_fraction"]),
            )
