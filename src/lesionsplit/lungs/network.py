"""The network that finds lungs, run by ONNX Runtime; `training.lungs` trains it."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file
from pathlib import Path

import numpy as np

from lesionsplit import cores
from lesionsplit.errors import WeightsError
from lesionsplit.images import Float
from lesionsplit.models.card import FOLDER, parse_card
from lesionsplit.models.onnx_file import INPUT, open_onnx
from lesionsplit.progress import Progress, silent
from lesionsplit.settings import Settings

DEFAULT = FOLDER / "lungs.safetensors"
"""The weights in the package. What runs is `lungs.onnx` beside them, which was exported from them."""

KEY = "lesionsplit-lungs"
"""Key of the card in an exported file's metadata, and in that of weights."""

BATCH = 8
"""Slices that go through the network together."""


class LungExportCard(Settings, frozen=True):
    """Where an exported file comes from."""

    weights: str
    """SHA-256 of the weights file."""

    made_with: dict[str, str]
    """Versions of the packages that wrote the file."""


class LungNetwork:
    """An exported network.

    Raises:
        WeightsError: the file is missing, broken or not ours.
        SettingsError: there is no such device.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        self._session, text = open_onnx(path, KEY, device)
        self.card = parse_card(LungExportCard, text, path)

    def shares(self, shrunk: Float, progress: Progress = silent) -> Float:
        """How far each pixel is lung, 0 to 1, of (K, SIDE, SIDE) in HU above `resample.AIR`.

        Raises:
            WeightsError: a result is not finite.
        """
        found = np.empty_like(shrunk)
        starts = range(0, len(shrunk), BATCH)
        for start in progress(starts, len(starts), "lungs"):
            (shares,) = self._session.run(None, {INPUT: shrunk[start : start + BATCH, None]})
            found[start : start + BATCH] = shares[:, 0]
        if not np.isfinite(found).all():  # NaN would be no lung
            raise WeightsError("the lung network's output is not finite: its weights, or the scan, are damaged")
        return found


def default_network(device: str = "auto") -> LungNetwork:
    """The network in the package, read once for each device and number of threads.

    Raises:
        WeightsError: the package's file is missing or broken.
        SettingsError: there is no such device.
    """
    return _default(device, cores.threads())


@cache
def _default(device: str, _threads: int) -> LungNetwork:
    with as_file(FOLDER / "lungs.onnx") as path:
        return LungNetwork(path, device)
