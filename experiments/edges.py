"""What scores in healthy lung, and what ground glass at its edges still does: `python experiments/edges.py DATA`.

DATA holds lidc-idri-0001/ with 069.xml, its readers' outlines of the nodule, and cip-ct64/. Of the first is printed how
much of the lungs reaches the stored threshold, the nodule and 1 cm around it aside, with enhanced blood in the lungs
and without it: before scores at upper and lower edges are lowered, after that, and after findings that are probably
normal are left out. Then ground glass is put at the diaphragm and at the pleura of both, and inside the lungs, and how
much of it reaches the threshold is printed for the same three. Before all that, `CHESTS` healthy chests of the phantom
are drawn in HU with domes, heart and vessels, and what reaches the threshold there is printed for the same three.
Minutes.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage

from lesionsplit.images import Float, Mask
from lesionsplit.inference.left_out import SMALLEST_ML, leave_out
from lesionsplit.inference.partial_volume import lower_at_edges, slices_blurred
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.inference.volume import decompose
from lesionsplit.io.case import Case
from lesionsplit.io.cases import find_cases
from lesionsplit.lungs.find import LungLabels, find_lungs
from lesionsplit.phantom.anatomy import HEIGHT, Subject
from lesionsplit.training.lungs.phantom_volumes import HIGHEST, HU_A_LEVEL, LUNG_GREY, LUNG_HU, SIZE, _body
from lesionsplit.volumes.decomposed import levels_from
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

GLASS, GRAIN = -450, 60
"""HU, and its standard deviation."""

AROUND_MM, EDGE_MM, BALLS = 10.0, 5.0, 12


CHESTS, PIXEL_MM, SLICE_MM = 8, 1.7, 2.5
"""Of the phantom."""

STEPS = ("before edges", "after", "without what is left out")


def fired(volume: Volume, lungs: LungLabels, predictor: SlicePredictor, scratch: Scratch) -> list[Mask]:
    """What reaches the threshold at each of `STEPS`, as axial slices."""
    with mock.patch("lesionsplit.inference.volume.slices_blurred", return_value=0):
        found = decompose(volume, lungs, predictor, scratch)
    score, lesion = volume.axial(found.score), volume.axial(found.lesion)
    steps = [lesion > 0]
    for _ in lower_at_edges(score, volume.axial(lungs.labels), slices_blurred(volume.axial_spacing[0], len(score))):
        pass
    lesion[:] = score >= levels_from(predictor.threshold)
    steps.append(lesion > 0)
    return [*steps, volume.axial(leave_out(found).lesion) > 0]


def outlined(volume: Volume, readings: Path) -> Mask:
    """What any reader outlined as a nodule, (slices, rows, columns)."""
    heights = sorted((float(one.ImagePositionPatient[2]), one.SOPInstanceUID) for one in volume.source.instances)
    numbers = {uid: number for number, (_, uid) in enumerate(heights)}
    found = np.zeros(volume.axial().shape, dtype=bool)
    root = ET.parse(readings).getroot()  # noqa: S314 - the data set's own file
    space = root.tag.partition("}")[0] + "}"
    for roi in root.iterfind(f".//{space}unblindedReadNodule/{space}roi"):
        corners = [
            tuple(int(edge.findtext(space + axis) or 0) for axis in ("xCoord", "yCoord"))
            for edge in roi.iterfind(space + "edgeMap")
        ]
        if len(corners) > 2:
            page = Image.new("1", found.shape[:0:-1])
            ImageDraw.Draw(page).polygon(corners, fill=1, outline=1)
            found[numbers[roi.findtext(space + "imageSOP_UID") or ""]] |= np.array(page)
    return found


def findings(lesion: Mask, nodule: Mask, volume: Volume) -> int:
    """Number of findings of 0.1 mL or more that do not touch the nodule."""
    labels, _ = ndimage.label(lesion, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    sizes[np.unique(labels[nodule])] = 0
    return int(np.count_nonzero(sizes * volume.voxel_ml >= SMALLEST_ML))


def dark(volume: Volume, readings: Path, predictor: SlicePredictor, scratch: Scratch) -> None:
    nodule = outlined(volume, readings)
    aside = ndimage.distance_transform_edt(~nodule, sampling=volume.axial_spacing) > AROUND_MM
    with mock.patch("lesionsplit.lungs.find.contrast_vessels", lambda lungs, _: np.zeros_like(lungs)):
        bloody = find_lungs(volume, scratch)
    for name, lungs in (("with enhanced blood", bloody), ("as they are found", find_lungs(volume, scratch))):
        inside = volume.axial(lungs.labels) > 0
        for when, lesion in zip(STEPS, fired(volume, lungs, predictor, scratch), strict=True):
            ml, share = np.count_nonzero(lesion & aside) * volume.voxel_ml, np.mean(lesion[inside & aside])
            print(
                f"lungs {name}, {np.count_nonzero(inside) * volume.voxel_ml:.0f} mL, {when}: {ml:.1f} mL = "
                f"{share:.3%} reach the threshold, nodule aside, in {findings(lesion, nodule, volume)} findings; "
                f"of the nodule {np.mean(lesion[nodule & inside]):.1%}"
            )


def drawn_chest(number: int) -> tuple[Volume, Mask]:
    """A healthy person of the phantom in HU, from below the domes to the apex, and the lungs, as axial slices."""
    rng = np.random.default_rng((11, number))
    subject = Subject(rng, SIZE, 0.5)
    # HU do not vary as grey scales do; with the phantom's strongest mosaic, of 80 HU, most of the lung is marked
    subject.level, subject.gravity = rng.normal(LUNG_GREY, 3), rng.uniform(4, 12)
    subject.mosaic, subject.noise = rng.uniform(1, 6), rng.uniform(4, 8)
    slices, inside = [], []
    for height in np.arange(HIGHEST, 1.1, SLICE_MM / (HEIGHT * SIZE * PIXEL_MM))[::-1]:
        rng = np.random.default_rng((12, number))  # one body for all slices
        healthy = subject.healthy(float(height))
        lungs = healthy.lungs & (height <= 1)
        hu = np.where(
            lungs, LUNG_HU + HU_A_LEVEL * (healthy.grey - LUNG_GREY), _body(rng, subject, lungs, float(height))
        )
        slices.append(ndimage.gaussian_filter(hu, 0.5) + 10 * rng.standard_normal(hu.shape))
        inside.append(lungs)
    volume = Volume(
        array=np.asfortranarray(np.rint(slices).astype(np.int16).transpose(2, 1, 0)),
        affine=np.diag([-PIXEL_MM, -PIXEL_MM, SLICE_MM, 1.0]),
        intensity="hu",
        source=Source(kind="nifti", path=Path(f"drawn-{number}"), name=f"drawn-{number}"),
    )
    return volume, np.stack(inside)


def drawn(predictor: SlicePredictor, scratch: Scratch) -> None:
    for number in range(CHESTS):
        volume, true = drawn_chest(number)
        lungs = find_lungs(volume, scratch)
        inside = volume.axial(lungs.labels) > 0
        for when, lesion in zip(STEPS, fired(volume, lungs, predictor, scratch), strict=True):
            ml, nothing = np.count_nonzero(lesion) * volume.voxel_ml, np.zeros_like(lesion)
            print(
                f"drawn chest {number}, {np.count_nonzero(inside) * volume.voxel_ml:.0f} mL, {when}: {ml:.1f} mL = "
                f"{np.mean(lesion[inside]):.3%} reach the threshold in {findings(lesion, nothing, volume)} findings; "
                f"of the drawn lungs {np.mean(lesion[true]):.3%}, in {findings(lesion & true, nothing, volume)}"
            )


def put_at_edges(
    lungs: Mask, spacing: tuple[float, float, float], rng: np.random.Generator
) -> Iterator[tuple[str, Float]]:
    """Shares of ground glass, (slices, rows, columns)."""
    above_edge = lungs & ~_shifted(lungs, round(EDGE_MM / spacing[0]) or 1)
    depth = np.stack([ndimage.distance_transform_edt(one, sampling=spacing[1:]) for one in lungs])
    places = {
        "the diaphragm": above_edge,
        "the pleura": lungs & ~above_edge & (depth < EDGE_MM),
        "neither": lungs & ~above_edge & (depth > 2 * EDGE_MM),
    }
    for place, where in places.items():
        spots = np.argwhere(where)
        for radius in (6, 10, 15):
            share = np.zeros(lungs.shape, np.float32)
            for spot in spots[rng.integers(len(spots), size=BALLS)]:
                low = [max(0, int(at - 1.5 * radius / size)) for at, size in zip(spot, spacing, strict=True)]
                high = [int(at + 1.5 * radius / size) + 2 for at, size in zip(spot, spacing, strict=True)]
                box = tuple(slice(*ends) for ends in zip(low, high, strict=True))
                at = np.indices(share[box].shape) + np.reshape(np.array(low) - spot, (3, 1, 1, 1))
                away = np.sqrt(((at * np.reshape(spacing, (3, 1, 1, 1))) ** 2).sum(axis=0))
                share[box] = np.maximum(share[box], np.clip((radius - away) / 2 + 0.5, 0, 1))
            yield f"{BALLS} balls of {radius} mm radius at {place}", share * lungs
    for height in (5, 10):
        layer = lungs & ~_shifted(lungs, round(height / spacing[0]) or 1)
        yield f"a layer of {height} mm on the diaphragm", layer.astype(np.float32)


def _shifted(lungs: Mask, slices: int) -> Mask:
    """Whether there is lung in all of so many slices below; below the first one there is."""
    all_below = np.ones_like(lungs)
    for step in range(1, slices + 1):
        all_below[step:] &= lungs[:-step]
    return all_below


def with_glass(volume: Volume, name: str, predictor: SlicePredictor, scratch: Scratch) -> None:
    lungs = volume.axial(find_lungs(volume, scratch).labels) > 0
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.standard_normal(lungs.shape, dtype=np.float32), (0.5, 1, 1))
    glass = GLASS + GRAIN * noise / noise.std()
    for what, share in put_at_edges(lungs, volume.axial_spacing, rng):
        axial = np.array(volume.axial())
        axial = (axial + share * (np.maximum(axial, glass) - axial)).astype(axial.dtype)
        ill = replace(volume, array=np.asfortranarray(volume.from_axial(axial)))
        drawn = share > 0.5
        steps = zip(STEPS, fired(ill, find_lungs(ill, scratch), predictor, scratch), strict=True)
        reached = ", ".join(f"{np.mean(lesion[drawn]):.0%} {when}" for when, lesion in steps)
        print(f"{name}, {what} ({np.count_nonzero(drawn) * volume.voxel_ml:.0f} mL) reach the threshold: {reached}")


def only_case(folder: Path) -> Case:
    """The CT in a folder."""
    found = find_cases([folder], recursive=False).cases
    if len(found) != 1:
        sys.exit(f"{folder}: {len(found)} CTs are there; give the folder that holds lidc-idri-0001/ and cip-ct64/")
    return found[0]


def main(data: Path) -> None:
    torch.set_num_threads(1)
    predictor = SlicePredictor.load(device="cpu")
    with Scratch() as scratch:
        drawn(predictor, scratch)
        lidc = only_case(data / "lidc-idri-0001").read(scratch)
        dark(lidc, data / "lidc-idri-0001" / "069.xml", predictor, scratch)
        cip = only_case(data / "cip-ct64" / "dicom").read(scratch)
        for name, volume in (("cip-ct64", cip), ("lidc-idri-0001", lidc)):
            with_glass(volume, name, predictor, scratch)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
