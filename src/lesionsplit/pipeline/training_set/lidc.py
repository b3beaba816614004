"""The contours of LIDC-IDRI's readers, from the XML file beside a scan, as masks."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from lesionsplit.errors import DataError
from lesionsplit.images import Mask
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume, Voxels

SPACE = "{http://www.nih.gov}"
SESSION = f"{SPACE}readingSession"


class Contour(NamedTuple):
    """An outline in one slice."""

    reader: int
    image: str
    """SOPInstanceUID of the slice."""

    inside: bool
    """Whether it encloses a nodule; otherwise a hole in one."""

    points: list[tuple[int, int]]
    """Columns and rows. The outline itself is just outside of the nodule."""


def series_of(path: Path) -> str:
    """The SeriesInstanceUID that a file of contours is of; empty if it is another kind of XML.

    Raises:
        DataError: it cannot be read.
    """
    root = _parsed(path)
    if root.tag != f"{SPACE}LidcReadMessage":
        return ""
    return (root.findtext(f"{SPACE}ResponseHeader/{SPACE}SeriesInstanceUid") or "").strip()


def reader_masks(path: Path, volume: Volume, scratch: Scratch) -> dict[str, Voxels]:
    """Masks on a volume's grid: ``any``, what any reader outlined, and ``majority``, what at least half of them did.

    Readers who found nothing count, too. Nodules below 3 mm are one point; regions that readers marked as no nodule are
    left out.

    Raises:
        DataError: the file cannot be read, or the volume is not the DICOM series that it is of.
    """
    columns, rows, _ = volume.shape
    place = {str(header.SOPInstanceUID): k for k, header in enumerate(volume.source.instances)}
    contours = list(_contours(path))
    if contours and not any(one.image in place for one in contours):
        raise DataError(
            f"{path}: has contours of other slices than {volume.source.path}; give the series it belongs to"
        )
    readers = len(_parsed(path).findall(SESSION))
    votes = scratch.like(volume, np.uint8)
    by_slice: dict[tuple[int, int], Mask] = {}
    for one in sorted(contours, key=lambda contour: not contour.inside):  # holes last
        if one.image in place:
            mask = by_slice.setdefault((place[one.image], one.reader), np.zeros((rows, columns), dtype=bool))
            mask[_filled(one.points, (rows, columns))] = one.inside
    for (k, _), mask in by_slice.items():
        votes[:, :, k] += mask.T
    most = scratch.like(volume, np.uint8)
    most[...] = (votes > 0) & (2 * votes >= readers)
    return {"any": votes, "majority": most}


def _filled(points: list[tuple[int, int]], shape: tuple[int, int]) -> Mask:
    image = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(image)
    if len(points) < 3:
        draw.point(points, fill=1)
    else:
        draw.polygon(points, fill=1, outline=0)
    filled: Mask = np.array(image)
    return filled


def _contours(path: Path) -> Iterator[Contour]:
    for reader, session in enumerate(_parsed(path).findall(SESSION)):
        for roi in session.findall(f"{SPACE}unblindedReadNodule/{SPACE}roi"):
            edge = roi.findall(f"{SPACE}edgeMap")
            try:
                points = [(int(one[0].text or ""), int(one[1].text or "")) for one in edge]
            except (ValueError, IndexError):
                raise DataError(f"{path}: has a contour without coordinates; is the file complete?") from None
            image = (roi.findtext(f"{SPACE}imageSOP_UID") or "").strip()
            inside = (roi.findtext(f"{SPACE}inclusion") or "TRUE").strip().upper() == "TRUE"
            yield Contour(reader, image, inside, points)


def _parsed(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()  # noqa: S314  expat reads no other file and limits entities
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f"{path}: cannot be read as XML ({error})") from None
