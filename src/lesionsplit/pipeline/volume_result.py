"""What comes of a volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionsplit.images import Float, Mask
from lesionsplit.io.dicom.source import why_no_objects
from lesionsplit.measurements.result import Measurements
from lesionsplit.measurements.tables import ROW, row
from lesionsplit.pipeline.options import DICOM_FILES, FILES
from lesionsplit.pipeline.outputs import Origin, VolumeFiles
from lesionsplit.pipeline.result import Array, Result
from lesionsplit.report.result_figure import Panels, volume_panels
from lesionsplit.volumes.decomposed import TOP, DecomposedVolume


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class VolumeResult(Result):
    """What was found in a volume. Arrays lie on disk and are read as they are used."""

    decomposed: DecomposedVolume
    measurements: Measurements
    """Every number, with a reason where one is not available."""

    origin: Origin

    @property
    def name(self) -> str:  # type: ignore[override]
        """Names the scan in tables and files."""
        return self.decomposed.volume.source.name

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """What makes the result doubtful: the one list that every file and table shows."""
        return tuple(self.measurements.notes)

    @property
    def affine(self) -> Array:
        """(4, 4), voxel indices to millimetres in RAS+."""
        return self.decomposed.volume.affine

    @property
    def image(self) -> Array:  # type: ignore[override]
        """The volume, (I, J, K), in HU or grey."""
        return self.decomposed.volume.array

    @property
    def score(self) -> Float:
        """(I, J, K), 0 to 1, raw, in steps of 1 / 65535."""
        return self.decomposed.score.astype(np.float32) / np.float32(TOP)

    @property
    def lesion(self) -> Mask:
        """(I, J, K), where the score reaches the threshold."""
        return self.decomposed.lesion > 0

    @property
    def lungs(self) -> Array:
        """(I, J, K): 0 outside, 1 in the right lung, 2 in the left."""
        return self.decomposed.lungs

    @property
    def healthy(self) -> Array:
        """(I, J, K), the volume without its lesion."""
        return self.decomposed.healthy

    @property
    def numbers(self) -> Mapping[str, float | None]:
        """The columns of cases.csv."""
        cells = row(self.measurements)
        return {column: float(cells[column]) if cells[column] else None for column, _, _ in ROW}

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of `FILES`, those that apply: DICOM objects of a DICOM series only, a parametric map where there is lung."""
        dicom = not why_no_objects(self.decomposed.volume)
        lung = self.has_lung
        return tuple(kind for kind in FILES if (dicom or kind not in DICOM_FILES) and (lung or kind != "map"))

    @property
    def has_lung(self) -> bool:
        """Whether any voxel is lung."""
        return any(one.any() for one in self.decomposed.volume.axial(self.decomposed.lungs))

    def _save(self, folder: Path, kinds: tuple[str, ...]) -> list[Path]:
        files = VolumeFiles(
            folder=folder, decomposed=self.decomposed, measurements=self.measurements, origin=self.origin
        )
        return files.write(kinds)

    def _panels(self) -> Panels:
        return volume_panels(self.decomposed)
