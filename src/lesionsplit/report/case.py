"""All files of one volume: what was found as NIfTI and DICOM, the numbers, a page, and a manifest of how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from lesionsplit.dicom.deidentify import Pseudonyms
from lesionsplit.dicom.identity import new_identity
from lesionsplit.dicom.parametric import write_parametric_map
from lesionsplit.dicom.segmentation import write_segmentation
from lesionsplit.dicom.structured import write_structured_report
from lesionsplit.errors import DataError
from lesionsplit.images import write_bytes
from lesionsplit.measures.result import Measures
from lesionsplit.measures.tables import to_csv, to_json
from lesionsplit.report.page.page import write_page
from lesionsplit.volumes.findings import TOP, Findings
from lesionsplit.volumes.nifti import write_nifti

FILES: Final[dict[str, str]] = {
    "score": "score.nii.gz",
    "lesion": "lesion.nii.gz",
    "lungs": "lungs.nii.gz",
    "healthy": "healthy.nii.gz",
    "seg": "segmentation.dcm",
    "map": "score.dcm",
    "sr": "report.dcm",
    "numbers": "report.json",
    "page": "report.html",
}
"""What can be asked for, and how it is named; ``numbers`` is report.csv too."""

AT_ONCE = 2
"""Files written at a time: each may have an array in memory for a moment."""

OF_DICOM: Final = ("seg", "map", "sr")
"""They refer to the slices they were made from, and so need a volume that was read from DICOM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Which files are wanted, and how."""

    kinds: tuple[str, ...] = tuple(FILES)
    """Of `FILES`."""

    pseudonyms: Pseudonyms | None = None
    """Given: no patient name, identifier, date, UID or path in any file."""

    omit_empty_frames: bool = False
    """Whether segmentations leave out the slices in which a segment has nothing: smaller files, which some
    viewers do not show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What files say of how they came about."""

    heading: str
    """Names the case on its page."""

    weights: str
    """SHA-256 of the network."""

    limits: tuple[str, ...]
    """What the network is not for, from its card."""

    provenance: Mapping[str, str]
    """Version, weights, threshold and the like, for the page."""


def write_case(findings: Findings, measures: Measures, folder: Path, outputs: Outputs, described: Described) -> None:
    """Write the files of a case but its manifest, two at a time.

    Raises:
        DataError: a file cannot be written, or none of those that are wanted can be made of such a volume.
    """
    arrays = {
        "score": (findings.score, 1 / TOP, "lesion score, raw, 0 to 1"),
        "lesion": (findings.lesion, 1.0, "1 lesion"),
        "lungs": (findings.lungs, 1.0, "1 right lung, 2 left lung"),
        "healthy": (findings.healthy, 1.0, "the volume without its lesion"),
    }
    jobs: dict[tuple[str, ...], Callable[[], object]] = {}
    for kind, (array, slope, label) in arrays.items():
        path = folder / FILES[kind]
        jobs[(kind,)] = partial(write_nifti, path, findings.volume, array, slope=slope, label=label)
    jobs[("numbers",)] = partial(_write_numbers, measures, folder)
    jobs[("page",)] = partial(
        write_page,
        folder / FILES["page"],
        findings,
        measures,
        heading=described.heading,
        card_limits=described.limits,
        provenance=described.provenance,
    )
    kinds = outputs.kinds
    if not findings.volume.source.instances:
        kinds = tuple(kind for kind in kinds if kind not in OF_DICOM)
    if not any(one.any() for one in findings.volume.axial(findings.lungs)):
        kinds = tuple(kind for kind in kinds if kind != "map")  # one without a frame is no DICOM object
    if set(kinds) & set(OF_DICOM):
        jobs[OF_DICOM] = partial(
            _write_dicom, findings, measures, folder, replace(outputs, kinds=kinds), described.weights
        )
    if not kinds:
        raise DataError("nothing to write: seg, map and sr are for volumes that were read from DICOM; ask for others")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        wanted = [job for of, job in jobs.items() if set(of) & set(kinds)]
        for done in [pool.submit(job) for job in wanted]:
            done.result()


def _write_numbers(measures: Measures, folder: Path) -> None:
    write_bytes(folder / FILES["numbers"], to_json(measures).encode())
    write_bytes(folder / "report.csv", to_csv(measures).encode())


def _write_dicom(findings: Findings, measures: Measures, folder: Path, outputs: Outputs, weights: str) -> None:
    """The segmentation, and what refers to it."""
    identity = new_identity(weights=weights, pseudonyms=outputs.pseudonyms)
    if "map" in outputs.kinds:
        write_parametric_map(findings, folder / FILES["map"], identity=identity)
    if {"seg", "sr"} & set(outputs.kinds):
        segmentation = write_segmentation(
            findings, folder / FILES["seg"], identity=identity, omit_empty_frames=outputs.omit_empty_frames
        )
        if "sr" in outputs.kinds:
            write_structured_report(findings, measures, segmentation, folder / FILES["sr"], identity=identity)
