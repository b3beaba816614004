"""From a scan to a result: the one way that the command line, the report and Python users share."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionsplit.data.lung_slice import LungSlice
from lesionsplit.images import Grey
from lesionsplit.inference.predictor import Prediction, SlicePredictor
from lesionsplit.models.card import digest
from lesionsplit.models.limitations import limits_of
from lesionsplit.pipeline.clock import Clock
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.result import Result, SliceResult
from lesionsplit.pipeline.scan import SliceImage, open_scan
from lesionsplit.runtime import Runtime
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume

if TYPE_CHECKING:
    from lesionsplit.pipeline.volume_result import VolumeResult

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
        cls, weights: str | Path = "default", *, threshold: float | str | None = None, runtime: Runtime | None = None
    ) -> Predictor:
        """Load a model.

        Args:
            weights: ``default`` for the weights in the package; a file that `train` or `lesionsplit export` wrote.
            threshold: the lowest score that counts as lesion, a number or a name that the weights have for one
                (``specific``, ``sensitive``); by default the one stored with the weights.
            runtime: device, threads, engine, progress.

        Raises:
            WeightsError: the file is missing, broken or of another kind.
            SettingsError: there is no such device or engine, or the threshold is not in (0, 1] and no name of one.
        """
        runtime = runtime or Runtime()
        runtime.begin()
        path = None if str(weights) == "default" else Path(weights)
        slices = SlicePredictor.load(path, device=runtime.device, threshold=threshold, engine=runtime.engine)
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
        floor = 0.0 if self.slices.card.kind.of_lungs else self.threshold

        def with_lung() -> Iterator[LungSlice]:
            for one in images:
                waiting.append(one)
                if one.seen.lungs.any():
                    yield one.seen

        for found in self.slices.predict_stream(with_lung()):
            while not waiting[0].seen.lungs.any():
                yield self._without_lung(waiting.pop(0))
            one = waiting.pop(0)
            yield SliceResult(
                name=one.name, image=one.image, prediction=one.restore(found), threshold=self.threshold, floor=floor
            )
        yield from map(self._without_lung, waiting)

    def predict_volume(
        self, volume: Volume, scratch: Scratch, options: PredictOptions, clock: Clock | None = None
    ) -> VolumeResult:
        """Predict a volume; see `VolumePredictor.predict`."""
        from lesionsplit.pipeline.volume_predictor import VolumePredictor  # loads much that images do not need

        predictor = VolumePredictor(
            slices=self.slices, runtime=self.runtime, weights=self.weights, limitations=self.limitations
        )
        return predictor.predict(volume, scratch, options, clock or Clock())

    def _predict(self, sources: Iterable[tuple[Any, Any]], options: PredictOptions) -> Iterator[Result]:
        kind = self.slices.card.kind
        options.check_kind(kind)

        def opened() -> Generator[tuple[Volume | SliceImage, Scratch], None, None]:
            for source, affine in sources:
                with Scratch() as scratch:  # its arrays stay readable when its folder has gone
                    device = self.runtime.device
                    yield open_scan(source, scratch, options, affine=affine, device=device, kind=kind), scratch

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
