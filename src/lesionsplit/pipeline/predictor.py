"""From a scan to a result: the one way that the command line, the report and Python users share."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from lesionsplit.csvtext import printable
from lesionsplit.data.lung_slice import LungSlice
from lesionsplit.errors import DataError, NoLungError
from lesionsplit.images import Grey
from lesionsplit.inference.predictor import Prediction, SlicePredictor
from lesionsplit.inference.volume import decompose
from lesionsplit.io.dicom.source import why_no_objects
from lesionsplit.io.label_maps import HIGHEST, label_map, read_labels
from lesionsplit.lungs.find import LungLabels, find_lungs
from lesionsplit.lungs.user_mask import lungs_from_user_mask
from lesionsplit.measurements.lobes import check_labels
from lesionsplit.measurements.measure import measure
from lesionsplit.memory import give_back_memory
from lesionsplit.models.limitations import limits_of
from lesionsplit.models.model import digest
from lesionsplit.pipeline.clock import Clock
from lesionsplit.pipeline.options import OTHER_FILES, PredictOptions, UserMask
from lesionsplit.pipeline.outputs import Origin
from lesionsplit.pipeline.result import Result, SliceResult, VolumeResult
from lesionsplit.pipeline.scan import SliceImage, open_scan
from lesionsplit.runtime import Runtime
from lesionsplit.volumes.decomposed import DecomposedVolume
from lesionsplit.volumes.padding import unpadded
from lesionsplit.volumes.scratch import Scratch, axially_stored
from lesionsplit.volumes.volume import Volume, Voxels

NO_LUNG = "no lung in this slice, so no lesion"
NO_LUNG_FOUND = "no lung found, so no lesion"


class Predictor:
    """A model loaded once for any number of scans.

    Examples:
        >>> predictor = Predictor.load()
        >>> result = predictor.predict("scan.nii.gz")
        >>> result.save("found/")
    """

    def __init__(self, slices: SlicePredictor, weights: Path | None, runtime: Runtime) -> None:
        """See `load`."""
        self.slices = slices
        self.runtime = runtime
        self.weights = digest(weights)
        """SHA-256 of the weights."""

        self.limitations = limits_of(weights)

    @classmethod
    def load(
        cls, weights: str | Path = "default", *, threshold: float | None = None, runtime: Runtime | None = None
    ) -> Predictor:
        """Load a model.

        Args:
            weights: ``default`` for the weights in the package; a file that `train` or `lesionsplit export` wrote.
            threshold: the lowest score that counts as lesion; by default the one stored with the weights.
            runtime: device, threads, engine, progress.

        Raises:
            WeightsError: the file is missing, broken or of another kind.
            SettingsError: there is no such device or engine, or the threshold is not in (0, 1].
        """
        runtime = runtime or Runtime()
        runtime.begin()
        path = None if str(weights) == "default" else Path(weights)
        slices = SlicePredictor.load(path, device=runtime.device, threshold=threshold, engine=runtime.engine_for(path))
        return cls(slices, path, runtime)

    @property
    def threshold(self) -> float:
        """The lowest score that counts as lesion."""
        return self.slices.threshold

    def predict(self, source: Any, *, affine: Any = None, **options: Any) -> Result:
        """Split one scan into its healthy version and its lesion.

        Args:
            source: a path (NIfTI, NRRD, MetaImage; a DICOM file, folder or zip; PNG, JPG or TIFF), a nibabel or
                SimpleITK image, an array (I, J, K) with its affine, or a slice (rows, columns) of uint8 or uint16.
            affine: (4, 4), voxel indices to millimetres in RAS+, of an array (I, J, K).
            options: fields of `PredictOptions`, such as ``lungs``, ``intensity`` or ``force``.

        Raises:
            DataError: the scan cannot be read or has no lung.
            SettingsError: an option is unknown or does not apply to this scan.
        """
        (result,) = self._predict([(source, affine)], PredictOptions.of(options))
        return result

    def predict_many(self, sources: Iterable[Any], **options: Any) -> Iterator[Result]:
        """Predict any number of scans, one after the other; consecutive images go through the network together.

        An error ends the iteration. To go on after a bad scan, call `predict` for each.

        Args:
            sources: as `predict` takes them, except arrays (I, J, K), which need an affine: give nibabel images.
            options: of all of them.
        """
        yield from self._predict(((source, None) for source in sources), PredictOptions.of(options))

    def predict_images(self, images: Iterable[SliceImage]) -> Iterator[SliceResult]:
        """Predict images of single slices in a stream; each as if it were alone.

        Args:
            images: are read ahead while the network works.
        """
        # The network skips images without lung. They wait here, so that results come in the images' order.
        waiting: list[SliceImage] = []

        def with_lung() -> Iterator[LungSlice]:
            for one in images:
                waiting.append(one)
                if one.seen.lungs.any():
                    yield one.seen

        for found in self.slices.predict_stream(with_lung()):
            while not waiting[0].seen.lungs.any():
                yield self._without_lung(waiting.pop(0))
            one = waiting.pop(0)
            yield SliceResult(name=one.name, image=one.image, prediction=one.restore(found), threshold=self.threshold)
        yield from map(self._without_lung, waiting)

    def predict_volume(
        self, volume: Volume, scratch: Scratch, options: PredictOptions, clock: Clock | None = None
    ) -> VolumeResult:
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
        clock = clock or Clock()
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
        with clock("lungs"):
            lungs = self._lungs(volume, scratch, options)
            lobes = self._lobes(whole.volume, scratch, options)
        give_back_memory()
        with clock("lesions"):
            decomposed = decompose(volume, lungs, self.slices, scratch, progress=self.runtime.progress)
            decomposed = whole.whole(decomposed, scratch)
        give_back_memory()
        with clock("numbers"):
            measurements = measure(decomposed, options.measurements, lobes)
        self._warn(name, [note for note in measurements.notes if note not in known])
        measurements.notes[:0] = left_out
        origin = Origin(
            weights=self.weights,
            limitations=self.limitations,
            provenance=self.provenance(decomposed),
            pseudonyms=options.pseudonyms,
            omit_empty_frames=options.omit_empty_frames,
        )
        return VolumeResult(decomposed=decomposed, measurements=measurements, origin=origin)

    def _warn(self, name: str, notes: Sequence[str]) -> None:
        if notes:
            self.runtime.warn(f"{name}: {'; '.join(notes)}")

    def provenance(self, decomposed: DecomposedVolume) -> dict[str, str]:
        """How a result was made, for people."""
        volume, card = decomposed.volume, self.slices.model.card
        voxels = " x ".join(map(str, volume.shape))
        spacing = " x ".join(f"{mm:.3g}" for mm in volume.spacing)
        threshold = f"{decomposed.threshold:.3g}"
        return {
            "Software": f"lesionsplit {version('lesionsplit')}",
            "Weights (SHA-256)": self.weights,
            "Run by": self.slices.engine.name,
            "Learnt from": card.trained.get("supervision", "not stated"),
            "Threshold": f"{threshold}: {card.threshold_from}"
            if decomposed.threshold == card.threshold
            else f"{threshold}, as given",
            "Lungs": decomposed.lungs_from,
            "Read from": volume.source.kind,
            "Grid": f"{voxels} voxels of {spacing} mm",
        }

    def _predict(self, sources: Iterable[tuple[Any, Any]], options: PredictOptions) -> Iterator[Result]:
        def opened() -> Generator[tuple[Volume | SliceImage, Scratch], None, None]:
            for source, affine in sources:
                with Scratch() as scratch:  # its arrays stay readable when its folder has gone
                    device = str(self.slices.device)
                    yield open_scan(source, scratch, options, affine=affine, device=device), scratch

        with closing(opened()) as scans:  # removes temporary files at once, also after an error
            for is_image, group in groupby(scans, lambda one: isinstance(one[0], SliceImage)):
                if is_image:
                    yield from self.predict_images(self._checked(group, options))
                    continue
                for volume, scratch in group:
                    yield self.predict_volume(volume, scratch, options)  # type: ignore[arg-type]

    @staticmethod
    def _checked(group: Iterable[tuple[Any, Scratch]], options: PredictOptions) -> Iterator[SliceImage]:
        for image, _ in group:
            options.check_image(image.name)
            yield image

    def _lungs(self, volume: Volume, scratch: Scratch, options: PredictOptions) -> LungLabels:
        if options.lungs is not None:
            return lungs_from_user_mask(volume, _labels(options.lungs, volume, scratch), scratch)
        try:
            return find_lungs(
                volume,
                scratch,
                using=options.lung_method or "network",
                lungmask_weights=options.lungmask_weights,
                device=str(self.slices.device),
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

    def _without_lung(self, one: SliceImage) -> SliceResult:
        return SliceResult(
            name=one.name,
            image=one.image,
            prediction=nothing_in(one.image),
            threshold=self.threshold,
            notes=(NO_LUNG_FOUND,),
        )


def nothing_in(image: Grey) -> Prediction:
    """What is found in a slice without lung."""
    nothing = np.zeros(image.shape, dtype=bool)
    return Prediction(score=nothing.astype(np.float32), mask=nothing, healthy=image, lungs=nothing)


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
