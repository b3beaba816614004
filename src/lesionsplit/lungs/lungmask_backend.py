"""Find lungs with the optional package ``lungmask`` (Hofmanninger et al., Eur Radiol Exp 2020)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.volumes.volume import Volume, Voxels


def lungmask_labels(volume: Volume, weights: Path | None, labels: Voxels, force_cpu: bool) -> None:
    """Write the right and the left lung that the model R231 finds; it keeps the whole volume in memory.

    Args:
        volume: in HU.
        weights: the weights file of R231; nothing is downloaded.
        labels: the output, on the volume's grid.
        force_cpu: use the CPU even if there is a GPU.

    Raises:
        DataError: the package or its weights are missing, or the volume is not in HU.
    """
    if volume.intensity != "hu":
        raise DataError(f"{volume.source.path}: lungmask needs HU, but the volume is grey; use --lung-method network")
    if weights is None:
        raise DataError("lungmask: no weights given; give its file unet_r231-*.pth with --lungmask-weights")
    if not weights.is_file():
        raise DataError(f"{weights}: no such file; give lungmask's weights, unet_r231-*.pth")
    try:
        from lungmask import LMInferer
    except ImportError:
        raise DataError(
            "lungmask is not installed; pip install 'lesionsplit[lungmask]', or use --lung-method network"
        ) from None
    inferer = LMInferer(modelname="R231", modelpath=str(weights), force_cpu=force_cpu, tqdm_disable=True)
    # It has the same order of axes: slices, rows to the back, columns to the patient's left; 1 is right, 2 left.
    volume.axial(labels)[...] = inferer.apply(np.ascontiguousarray(volume.axial()))
