"""Lungs by the package ``lungmask`` (Hofmanninger et al. 2020), where somebody has installed it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.volumes.volume import Volume, Voxels


def lungmask_labels(volume: Volume, weights: Path | None, labels: Voxels, force_cpu: bool) -> None:
    """Write right and left lung as that package's model R231 finds them; it has the whole volume in memory.

    Args:
        volume: in HU.
        weights: the file of R231; nothing is downloaded.
        labels: is written to, on the volume's grid.
        force_cpu: even if there is a GPU.

    Raises:
        DataError: the package or its weights are not there, or the volume is not in HU.
    """
    if volume.intensity != "hu":
        raise DataError(f"{volume.source.path}: lungmask needs HU, this is grey; find its lungs with the network")
    if weights is None:
        raise DataError("lungmask: no weights given; give its file unet_r231-*.pth, nothing is downloaded")
    if not weights.is_file():
        raise DataError(f"{weights}: no such file; give lungmask's weights, unet_r231-*.pth")
    try:
        from lungmask import LMInferer
    except ImportError:
        raise DataError("lungmask is not installed; pip install 'lesionsplit[lungmask]', or use the network") from None
    inferer = LMInferer(modelname="R231", modelpath=str(weights), force_cpu=force_cpu, tqdm_disable=True)
    # Its arrays run like ours: slices, rows to the back, columns to the patient's left; 1 is right, 2 left.
    volume.axial(labels)[...] = inferer.apply(np.ascontiguousarray(volume.axial()))
