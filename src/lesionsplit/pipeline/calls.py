"""The functions of the public API that take one scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lesionsplit.errors import DataError
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.result import Result
from lesionsplit.pipeline.scan import SliceImage, open_scan
from lesionsplit.runtime import Runtime
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume


def predict(
    source: Any,
    *,
    weights: str | Path = "default",
    threshold: float | str | None = None,
    affine: Any = None,
    runtime: Runtime | None = None,
    **options: Any,
) -> Result:
    """Split one scan into its healthy version and its lesion. For several scans, load a `Predictor` once.

    Examples:
        >>> result = lesionsplit.predict("scan.nii.gz")

    Args:
        source: a path (NIfTI, NRRD, MetaImage; a DICOM file, folder or zip; PNG, JPG or TIFF), a nibabel or SimpleITK
            image, an array (I, J, K) with its affine, or a slice (rows, columns) of uint8 or uint16.
        weights: ``default`` for the weights in the package; a file that `train` or ``lesionsplit export`` wrote.
        threshold: the lowest score that counts as lesion, a number or a name that the weights have for one
            (``specific``, ``sensitive``); by default the one stored with the weights.
        affine: (4, 4), voxel indices to millimetres in RAS+, of an array (I, J, K).
        runtime: device, threads, engine, progress.
        options: fields of `PredictOptions`, such as ``lungs``, ``intensity`` or ``force``.

    Raises:
        DataError: the scan cannot be read or has no lung.
        SettingsError: an option is unknown or does not apply to this scan.
        WeightsError: the weights are missing, broken or of another kind.
    """
    return Predictor.load(weights, threshold=threshold, runtime=runtime).predict(source, affine=affine, **options)


def read_volume(path: str | Path, *, intensity: str = "auto", force: bool = False) -> Volume:
    """Read a CT volume: ``array`` (I, J, K) in HU or grey, and its ``affine`` to millimetres in RAS+.

    Args:
        path: NIfTI, NRRD, MetaImage; a DICOM file, folder or zip.
        intensity: ``auto``, ``hu`` or ``8-bit``.
        force: continue despite recoverable inconsistencies.

    Raises:
        DataError: it cannot be read, or is an image of one slice.
    """
    with Scratch() as scratch:
        scan = open_scan(path, scratch, PredictOptions.of({"intensity": intensity, "force": force}))
    if isinstance(scan, SliceImage):
        raise DataError(f"{path}: is an image of one slice, not a volume; give NIfTI, NRRD, MetaImage or DICOM")
    return scan
