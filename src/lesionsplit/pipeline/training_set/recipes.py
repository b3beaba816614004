"""Public data sets as they are laid out when they are unpacked: which file is a scan, a mask, and what it is of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lesionsplit.errors import DataError
from lesionsplit.io.names import stem
from lesionsplit.pipeline.training_set.lidc import series_of
from lesionsplit.pipeline.training_set.plan import Planned, Span

NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a public data set is read."""

    title: str
    layout: str
    """What must be in the folder, for messages and the docs."""

    plan: Callable[[Path], Iterator[Planned]]
    dicom: bool = False
    """The scans are series anywhere in the folder, named by their UID."""

    labels_from: str | None = None
    """The annotator whose masks give the labels, where every scan has lesions."""


def _covid_ct_20(root: Path) -> Iterator[Planned]:
    """Ma et al. 2020: files called alike in folders of scans, lung masks (1, 2) and infection masks (1)."""
    scans = _folder(root, "COVID-19-CT-Seg_20cases", "ct_scans")
    lungs, infections = _folder(root, "Lung_Mask", "lung_mask"), _folder(root, "Infection_Mask", "infection_mask")
    for scan in _volumes(scans):
        name = stem(scan.name)
        number = re.search(r"\d+", name)
        source = "coronacases" if name.startswith("coronacases") else "radiopaedia"
        yield Planned(
            scan=str(scan.resolve()),
            patient=f"{source}_{int(number[0]) if number else name}",  # radiopaedia_10_85902_1 and _3: one patient
            masks={"infection": _same(infections, name)},
            lungs=_same(lungs, name),
            intensity="either",  # ten of the scans are 8-bit grey
            place=str(scan),
        )


def _mosmed(root: Path) -> Iterator[Planned]:
    """MosMedData (Morozov et al. 2020): studies/CT-0 is normal, CT-1 to CT-4 are COVID; 50 of CT-1 have a mask."""
    masks = {stem(path.name).removesuffix("_mask"): path for path in _volumes(root / "masks")}
    studies = _folder(root, "studies")
    for folder in sorted(studies.glob("CT-[0-4]")):
        for scan in _volumes(folder):
            name = stem(scan.name)
            yield Planned(
                scan=str(scan.resolve()),
                spans=(Span("normal" if folder.name == "CT-0" else "lesion"),),
                patient=name,
                masks={"mosmed": masks[name]} if name in masks else {},
                place=str(scan),
            )


def _covid_19_20(root: Path) -> Iterator[Planned]:
    """COVID-19-20 challenge: NAME_ct.nii.gz with NAME_seg.nii.gz beside it, in the folder or in Train/."""
    scans = [path for path in _volumes(root) if stem(path.name).endswith("_ct")]
    scans = scans or [path for path in _volumes(root / "Train") if stem(path.name).endswith("_ct")]
    for scan in scans:
        name = stem(scan.name).removesuffix("_ct")
        number = re.search(r"\d{4}", name)
        yield Planned(
            scan=str(scan.resolve()),
            patient=number[0] if number else name,
            masks={"challenge": _same(scan.parent, f"{name}_seg")},
            place=str(scan),
        )


def _medseg_9(root: Path) -> Iterator[Planned]:
    """MedSeg's 9 Radiopaedia volumes: masks have 1 ground glass, 2 consolidation, 3 pleural effusion, which is none."""
    scans, masks, lungs = _folder(root, "rp_im"), _folder(root, "rp_msk"), _folder(root, "rp_lung_msk")
    for scan in _volumes(scans):
        name = stem(scan.name)
        yield Planned(
            scan=str(scan.resolve()),
            patient=name,
            masks={"medseg": _same(masks, name)},
            values=(1, 2),
            lungs=_same(lungs, name),
            intensity="either",
            place=str(scan),
        )


def _lidc(root: Path) -> Iterator[Planned]:
    """LIDC-IDRI (Armato et al. 2011): DICOM series, each with an XML file of four readers' contours beside it."""
    for path in sorted(root.rglob("*.xml")):
        if series := series_of(path):
            yield Planned(scan=series, contours=path, place=str(path))


RECIPES: Final[dict[str, Recipe]] = {
    "covid-ct-20": Recipe(
        title="COVID-19 CT lung and infection segmentation, 20 cases",
        layout="COVID-19-CT-Seg_20cases/, Lung_Mask/ and Infection_Mask/, or ct_scans/, lung_mask/ and infection_mask/",
        plan=_covid_ct_20,
        labels_from="infection",
    ),
    "mosmed": Recipe(
        title="MosMedData COVID19_1110", layout="studies/CT-0/ to studies/CT-4/, and masks/", plan=_mosmed
    ),
    "covid-19-20": Recipe(
        title="COVID-19-20 challenge",
        layout="*_ct.nii.gz and *_seg.nii.gz, here or in Train/",
        plan=_covid_19_20,
        labels_from="challenge",
    ),
    "medseg-9": Recipe(
        title="MedSeg, 9 Radiopaedia volumes",
        layout="rp_im/, rp_msk/ and rp_lung_msk/",
        plan=_medseg_9,
        labels_from="medseg",
    ),
    "lidc-idri": Recipe(
        title="LIDC-IDRI",
        layout="DICOM series and, of each, the XML file with the readers' contours",
        plan=_lidc,
        dicom=True,
        labels_from="any",
    ),
}


def planned_by(name: str, root: Path) -> tuple[Recipe, list[Planned]]:
    """The scans of a public data set.

    Raises:
        DataError: the folder is not laid out as the data set is, or a mask is missing.
    """
    recipe = RECIPES[name]
    planned = list(recipe.plan(root)) if root.is_dir() else []
    if not planned:
        raise DataError(f"{root}: is not laid out as {name} ({recipe.title}); expected: {recipe.layout}")
    return recipe, planned


def _folder(root: Path, *names: str) -> Path:
    found = next((root / name for name in names if (root / name).is_dir()), None)
    if found is None:
        raise DataError(f"{root}: has no folder {' or '.join(names)}; give the folder of the unpacked data set")
    return found


def _volumes(folder: Path) -> Sequence[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.endswith(NIFTI) and not path.name.startswith("."))


def _same(folder: Path, name: str) -> Path:
    """The file of a name in a folder of masks."""
    found = next((path for suffix in NIFTI if (path := folder / f"{name}{suffix}").is_file()), None)
    if found is None:
        raise DataError(f"{folder}: has no mask {name}.nii.gz; is the data set complete?")
    return found
