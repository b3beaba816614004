"""What comes of a scan: arrays on its grid, numbers, notes on quality, files and a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lesionsplit.errors import DataError, SettingsError
from lesionsplit.images import Float, Grey, Mask, as_float
from lesionsplit.inference.predictor import Prediction
from lesionsplit.pipeline.options import SLICE_FILES, UNUSUAL
from lesionsplit.pipeline.slice_files import write_slice
from lesionsplit.report.result_figure import Panels, png_of, result_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array: TypeAlias = npt.NDArray[Any]


class Result:
    """What was found in one scan. Arrays have the scan's shape: (I, J, K) of a volume, (rows, columns) of an image.

    Examples:
        >>> result = lesionsplit.predict("scan.nii.gz")
        >>> result.lesion.sum(), result.numbers["lesion_ml"]
    """

    name: str
    """Names the scan in tables and files."""

    notes: tuple[str, ...]
    """What makes the result doubtful; empty where nothing does."""

    image: Array
    """The scan itself, in its own units."""

    @property
    def score(self) -> Float:
        """0 to 1, raw: comparable between scans. 0 outside the lungs."""
        raise NotImplementedError

    @property
    def lesion(self) -> Mask:
        """Where the score reaches the threshold."""
        raise NotImplementedError

    @property
    def lungs(self) -> Array:
        """0 outside the lungs; of a volume 1 in the right lung and 2 in the left, of an image True inside."""
        raise NotImplementedError

    @property
    def healthy(self) -> Array:
        """The scan without its lesion, in the scan's type and units."""
        raise NotImplementedError

    @property
    def numbers(self) -> Mapping[str, float | None]:
        """The numbers that the table of cases shows; None where a number is not available."""
        raise NotImplementedError

    def save(self, folder: str | Path, write: Iterable[str] | None = None) -> list[Path]:
        """Write files; returns their paths.

        Args:
            folder: is made where it does not exist.
            write: which files, of `kinds`; by default all that apply but a parametric map.

        Raises:
            SettingsError: a kind is unknown or does not apply to this scan.
            DataError: some files could not be made; the others are written.
        """
        chosen = tuple(kind for kind in self.kinds if kind not in UNUSUAL) if write is None else tuple(write)
        if wrong := [kind for kind in chosen if kind not in self.kinds]:
            raise SettingsError(f"{self.name}: cannot write {wrong[0]!r}; allowed here: {', '.join(self.kinds)}")
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from None
        return self._save(Path(folder), chosen)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What `save` can write."""
        raise NotImplementedError

    def show(self) -> Figure:
        """A matplotlib figure of the slice with most lesion: the slice, its scores, the lesion, the healthy version.

        Raises:
            SettingsError: matplotlib is not installed.
        """
        return result_figure(self._panels())

    def _repr_png_(self) -> bytes | None:
        """The picture that a notebook shows."""
        try:
            return png_of(self.show())
        except SettingsError:  # without matplotlib a notebook shows the text
            return None

    def __repr__(self) -> str:
        """One line with the main numbers."""
        known = {name: value for name, value in self.numbers.items() if value is not None}
        said = ", ".join(f"{name} {value:.4g}" for name, value in list(known.items())[:4])
        return f"<{type(self).__name__} {self.name}: {said}{f'; {len(self.notes)} notes' if self.notes else ''}>"

    def _save(self, folder: Path, kinds: tuple[str, ...]) -> list[Path]:
        raise NotImplementedError

    def _panels(self) -> Panels:
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class SliceResult(Result):
    """What was found in an image of one slice."""

    name: str
    image: Grey
    prediction: Prediction
    threshold: float
    notes: tuple[str, ...] = ()

    floor: float = 0.0
    """Score below which overlays show the image alone."""

    @property
    def score(self) -> Float:
        """(rows, columns), 0 to 1, raw."""
        return self.prediction.score

    @property
    def lesion(self) -> Mask:
        """(rows, columns), where the score reaches the threshold."""
        return self.prediction.mask

    @property
    def lungs(self) -> Mask:
        """(rows, columns), True inside."""
        return self.prediction.lungs

    @property
    def healthy(self) -> Grey:
        """(rows, columns), the slice without its lesion, 8 or 16 bit as the slice."""
        return self.prediction.healthy

    @property
    def numbers(self) -> Mapping[str, float | None]:
        """The columns of predictions.csv."""
        return {
            "slice_score": self.prediction.slice_score,
            "lesion_pixels": int(np.count_nonzero(self.prediction.mask)),
            "lesion_fraction": self.prediction.lesion_fraction,
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """What `save` can write."""
        return SLICE_FILES

    def _save(self, folder: Path, kinds: tuple[str, ...]) -> list[Path]:
        return write_slice(folder, self.name, self.image, self.prediction, kinds, self.floor)

    def _panels(self) -> Panels:
        return Panels(
            title=self.name,
            image=as_float(self.image),
            score=self.score,
            lesion=self.lesion,
            healthy=as_float(self.healthy),
        )
