"""The files of a volume's result: which there are, and what each is called. Decided here and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from lesionsplit.errors import DataError, OutputError
from lesionsplit.images import write_bytes
from lesionsplit.io.dicom.pseudonyms import Pseudonyms
from lesionsplit.io.nifti import write_nifti
from lesionsplit.measurements.result import Measurements
from lesionsplit.measurements.tables import to_csv, to_json
from lesionsplit.pipeline.options import DICOM_FILES, FILES
from lesionsplit.pipeline.slice_files import attempt
from lesionsplit.report.page.page import write_page
from lesionsplit.report.pdf import report_pdf
from lesionsplit.report.pictures import key_picture
from lesionsplit.volumes.decomposed import TOP, DecomposedVolume

AT_ONCE = 2
"""Files written at a time: each may have an array in memory for a moment."""


def load_writers(kinds: Sequence[str]) -> None:
    """Load what writes DICOM objects: half a second in which the network of the lungs can work.

    What cannot be loaded is not needed yet: writing says so.
    """
    if set(kinds) & set(DICOM_FILES):
        with suppress(Exception):
            import lesionsplit.io.dicom.segmentation
            import lesionsplit.io.dicom.structured_report  # noqa: F401


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What files say about how they were made."""

    weights: str
    """SHA-256 of the network's weights."""

    limitations: tuple[str, ...]
    """What the network is not for, from its card."""

    provenance: Mapping[str, str]
    """Version, weights, threshold and the like, for people."""

    identifiers: Mapping[str, str] = field(default_factory=dict)
    """Patient, study and series, by `identifiers.IDENTIFIERS`."""

    pseudonyms: Pseudonyms | None = None
    """Given: no patient name, identifier, date, UID or path in any file."""

    omit_empty_frames: bool = False
    """Whether a segmentation leaves out slices in which a segment is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFiles:
    """Writes the files of a volume."""

    folder: Path
    decomposed: DecomposedVolume
    measurements: Measurements
    origin: Origin

    def write(self, kinds: Sequence[str]) -> list[Path]:
        """Write some of `FILES`, two at a time; returns the paths.

        Raises:
            OutputError: some could not be made; the others are written.
        """
        failed: dict[str, Exception] = {}
        jobs: list[Callable[[], object]] = []
        arrays = {
            "score": (self.decomposed.score, 1 / TOP, "lesion score, raw, 0 to 1"),
            "lesion": (self.decomposed.lesion, 1.0, "1 lesion"),
            "lungs": (self.decomposed.lungs, 1.0, "1 right lung, 2 left lung"),
            "healthy": (self.decomposed.healthy, 1.0, "the volume without its lesion"),
        }
        for kind, (array, slope, label) in arrays.items():
            if kind in kinds:
                path = self.folder / FILES[kind]
                write = partial(write_nifti, path, self.decomposed.volume, array, slope=slope, label=label)
                jobs.append(partial(attempt, FILES[kind], write, failed))
        if "numbers" in kinds:
            jobs.append(partial(attempt, FILES["numbers"], self._write_numbers, failed))
        if "page" in kinds:
            jobs.append(partial(attempt, FILES["page"], self._write_page, failed))
        if set(kinds) & set(DICOM_FILES):
            jobs.append(partial(self._write_dicom, kinds, failed))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in [pool.submit(job) for job in jobs]:
                done.result()
        if failed:
            raise OutputError(failed)
        names = [FILES[kind] for kind in FILES if kind in kinds]
        names += ["report.csv"] if "numbers" in kinds else []
        names += [FILES["seg"]] if "sr" in kinds and "seg" not in kinds else []  # the report refers to it
        return [self.folder / name for name in names]

    def _write_numbers(self) -> None:
        write_bytes(self.folder / FILES["numbers"], to_json(self.measurements, self.origin.identifiers).encode())
        write_bytes(self.folder / "report.csv", to_csv(self.measurements).encode())

    def _write_page(self) -> None:
        write_page(
            self.folder / FILES["page"],
            self.decomposed,
            self.measurements,
            heading=self.decomposed.volume.source.name,
            card_limits=self.origin.limitations,
            provenance=self.origin.provenance,
        )

    def _made_from(self) -> tuple[str, ...]:
        """All that decides what is in the DICOM objects: the slices, the settings, the result."""
        volume, found = self.decomposed.volume, hashlib.sha256()
        for score, lungs in zip(volume.axial(self.decomposed.score), volume.axial(self.decomposed.lungs), strict=True):
            if lungs.any():
                found.update(np.ascontiguousarray(score).data)
                found.update(np.ascontiguousarray(lungs).data)
        return (
            *(str(one.SOPInstanceUID) for one in volume.source.instances),
            msgspec.json.encode(msgspec.structs.replace(self.measurements, name="")).decode(),
            f"{self.origin.omit_empty_frames}",
            found.hexdigest(),
        )

    def _write_dicom(self, kinds: Sequence[str], failed: dict[str, Exception]) -> None:
        """The parametric map, the segmentation, and the report, which refers to the segmentation."""
        # Loading highdicom takes half a second, and volumes that are no DICOM need none
        from lesionsplit.io.dicom.encapsulated_pdf import write_encapsulated_pdf
        from lesionsplit.io.dicom.identity import new_identity
        from lesionsplit.io.dicom.parametric_map import write_parametric_map
        from lesionsplit.io.dicom.secondary_capture import write_secondary_capture
        from lesionsplit.io.dicom.segmentation import write_segmentation
        from lesionsplit.io.dicom.structured_report import write_structured_report

        identity = new_identity(
            weights=self.origin.weights, made_from=self._made_from(), pseudonyms=self.origin.pseudonyms
        )
        score, mask, report = (self.folder / FILES[kind] for kind in ("map", "seg", "sr"))
        if "map" in kinds:
            write = partial(write_parametric_map, self.decomposed, score, identity=identity)
            attempt(score.name, write, failed)
        if "sc" in kinds:
            pictures = self.folder / FILES["sc"]

            def write_pictures() -> Path:
                drawn = key_picture(self.decomposed, self.measurements)
                return write_secondary_capture(self.decomposed.volume, drawn, pictures, identity=identity)

            attempt(pictures.name, write_pictures, failed)
        if "pdf" in kinds:
            document = self.folder / FILES["pdf"]

            def write_document() -> Path:
                made = report_pdf(self.decomposed, self.measurements, self.origin.provenance, self.origin.limitations)
                return write_encapsulated_pdf(self.decomposed.volume, made, document, identity=identity)

            attempt(document.name, write_document, failed)
        if not {"seg", "sr"} & set(kinds):
            return
        omit = self.origin.omit_empty_frames
        write_seg = partial(write_segmentation, self.decomposed, mask, identity=identity, omit_empty_frames=omit)
        segmentation = attempt(mask.name, write_seg, failed)
        if "sr" in kinds and segmentation is None:
            failed[report.name] = DataError(f"it refers to {mask.name}")
        elif "sr" in kinds and segmentation is not None:
            findings = (self.decomposed, self.measurements, segmentation, report)
            attempt(report.name, partial(write_structured_report, *findings, identity=identity), failed)
