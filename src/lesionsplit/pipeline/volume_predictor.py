"""From a volume in memory to its result."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from lesionsplit.csvtext import printable
from lesionsplit.errors import DataError, NoLungError
from lesionsplit.inference.left_out import leave_out
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.inference.volume import decompose
from lesionsplit.io.dicom.source import why_no_objects
from lesionsplit.io.label_maps import HIGHEST, label_map, read_labels
from lesionsplit.lungs.find import LungLabels, find_lungs
from lesionsplit.lungs.user_mask import lungs_from_user_mask
from lesionsplit.measurements.lobes import check_labels
from lesionsplit.measurements.measure import measure
from lesionsplit.memory import give_back_memory
from lesionsplit.pipeline.clock import Clock
from lesionsplit.pipeline.identifiers import identifiers, whose
from lesionsplit.pipeline.options import OTHER_FILES, PredictOptions, UserMask
from lesionsplit.pipeline.outputs import Origin, load_writers
from lesionsplit.pipeline.volume_result import VolumeResult
from lesionsplit.runtime import Runtime
from lesionsplit.volumes.decomposed import DecomposedVolume
from lesionsplit.volumes.padding import unpadded
from lesionsplit.volumes.scratch import Scratch, axially_stored
from lesionsplit.volumes.volume import Volume, Voxels

NO_LUNG = "no lung in this slice, so no lesion"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePredictor:
    """A network applied to volumes; `Predictor` makes it."""

    slices: SlicePredictor
    runtime: Runtime
    weights: str
    """SHA-256 of the weights."""

    limitations: tuple[str, ...]
    """What the network is not for, from its card."""

    def predict(self, volume: Volume, scratch: Scratch, options: PredictOptions, clock: Clock) -> VolumeResult:
        """Predict a volume.

        Args:
            volume: in HU or grey.
            scratch: where arrays are kept.
            options: what can be chosen.
            clock: measures the stages.

        Raises:
            NoLungError: the volume has several slices and none has lung.
            DataError: the user's lungs or lobes cannot be read or are on another grid.
            SettingsError: an option does not apply to this volume.
        """
        name = volume.source.name
        known = [*map(printable, volume.source.notes)]
        self._warn(name, known)
        no_dicom = why_no_objects(volume)
        options.check_volume(name, no_dicom=no_dicom, hu=volume.intensity == "hu")
        left_out = options.left_out(no_dicom) if volume.source.instances else ()
        volume = axially_stored(volume, scratch)
        whole = unpadded(volume, scratch, whole=options.lungs is not None)
        volume = whole.scan
        for note in left_out:
            self.runtime.warn(f"{name}: {note}; the other files are written; to ask for them alone: {OTHER_FILES}")
        with ThreadPoolExecutor(1) as beside, clock("lungs"):
            if not no_dicom:
                beside.submit(load_writers, options.kinds)
            lungs = self._lungs(volume, scratch, options)
            lobes = self._lobes(whole.volume, scratch, options)
        give_back_memory()
        with clock("lesions"):
            decomposed = decompose(volume, lungs, self.slices, scratch, progress=self.runtime.progress)
            decomposed = whole.whole(decomposed, scratch)
            if not options.all_findings:
                decomposed = leave_out(decomposed)
        give_back_memory()
        with clock("numbers"):
            measurements = measure(decomposed, options.measurements, lobes)
        self._warn(name, [note for note in measurements.notes if note not in known])
        measurements.notes[:0] = left_out
        origin = Origin(
            weights=self.weights,
            limitations=self.limitations,
            provenance=(whose(volume) if options.pseudonyms is None else {}) | self._provenance(decomposed),
            identifiers=identifiers(volume) if options.pseudonyms is None else {},
            pseudonyms=options.pseudonyms,
            omit_empty_frames=options.omit_empty_frames,
        )
        return VolumeResult(decomposed=decomposed, measurements=measurements, origin=origin)

    def _warn(self, name: str, notes: Sequence[str]) -> None:
        if notes:
            self.runtime.warn(f"{name}: {'; '.join(notes)}")

    def _provenance(self, decomposed: DecomposedVolume) -> dict[str, str]:
        """How a result was made, for people."""
        volume, card = decomposed.volume, self.slices.card
        voxels = " x ".join(map(str, volume.shape))
        spacing = " x ".join(f"{mm:.3g}" for mm in volume.spacing)
        return {
            "Software": f"lesionsplit {version('lesionsplit')}",
            "Weights (SHA-256)": self.weights,
            "Run by": self.slices.engine.name,
            "Learnt from": card.trained.get("supervision", "not stated"),
            "Threshold": f"{decomposed.threshold:.3g}: {self.slices.threshold_from}",
            "Lungs": decomposed.lungs_from,
            "Read from": volume.source.kind,
            "Grid": f"{voxels} voxels of {spacing} mm",
        }

    def _lungs(self, volume: Volume, scratch: Scratch, options: PredictOptions) -> LungLabels:
        if options.lungs is not None:
            return lungs_from_user_mask(volume, _labels(options.lungs, volume, scratch), scratch)
        try:
            return find_lungs(
                volume,
                scratch,
                using=options.lung_method or "network",
                lungmask_weights=options.lungmask_weights,
                device=self.runtime.device,
                progress=self.runtime.progress,
            )
        except NoLungError:
            if len(volume.axial()) > 1:
                raise
            return LungLabels(labels=scratch.like(volume, np.uint8), method="none found", notes=(NO_LUNG,))

    def _lobes(self, volume: Volume, scratch: Scratch, options: PredictOptions) -> Voxels | None:
        if options.lobes is None:
            return None
        lobes = _labels(options.lobes, volume, scratch)
        check_labels(lobes, volume, str(options.lobes) if isinstance(options.lobes, Path) else "lobes")
        return lobes


def _labels(given: UserMask, volume: Volume, scratch: Scratch) -> Voxels:
    """The user's label map of a volume.

    Raises:
        DataError: there is none for this volume, or it is on another grid.
    """
    if isinstance(given, Path):
        found = label_map(given, volume.source.name)
        if found is None:
            raise DataError(f"{given}: has no {volume.source.name}.nii.gz; give a label map of every case")
        return read_labels(found, volume, scratch)
    if given.shape != volume.shape or given.dtype.kind not in "biu" or given.min() < 0 or given.max() > HIGHEST:
        raise DataError(
            f"the label map is {given.dtype} {given.shape}; allowed: whole numbers from 0 to {HIGHEST}, of the "
            f"scan's shape {volume.shape}"
        )
    return given.astype(np.uint16)
