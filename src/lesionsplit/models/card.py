"""What a file with a network says of itself, as JSON: all that prediction needs besides the network.

Nothing here needs PyTorch. `model.ModelCard` has the settings of the method, too.
"""

from __future__ import annotations

import hashlib
import os
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta, field

from lesionsplit.data.kind import Channels, ImageKind, RegionName
from lesionsplit.data.normalise import Normalisation
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.errors import SettingsError, WeightsError
from lesionsplit.settings import NonNegativeInt, Settings, from_table, parse_json

FORMAT = 3
"""The only format of weights files that this version reads; raised when the meaning of a file changes."""

FOLDER = files("lesionsplit") / "weights"
"""The files in the package."""

DEFAULT = FOLDER / "default.safetensors"

C = TypeVar("C", bound=Settings)


class MethodCard(Settings, frozen=True):
    """What prediction needs to know of a method; see `methods.base.MethodSettings`."""

    name: str
    margin_pixels: NonNegativeInt
    neighbour_weight: Annotated[float, Meta(ge=0, le=1)]
    annotator: str | None
    settings: dict[str, Any]
    """All of its settings, for people."""


class NamedThreshold(Settings, frozen=True):
    """Another threshold than the stored one; see `evaluation.threshold.PROMISES`."""

    value: Annotated[float, Meta(gt=0, le=1)]
    """Lowest score that counts as lesion."""

    promise: str
    """What holds at it, and how that was found."""


class PredictionCard(Settings, frozen=True):
    """How to use a network, and where it comes from."""

    method: MethodCard
    placement: PlacementSettings
    normalisation: Normalisation
    threshold: Annotated[float, Meta(gt=0, le=1)]
    """Lowest score that counts as lesion."""

    threshold_from: str
    """How the threshold was set."""

    trained: dict[str, str]
    """Where the weights come from: version, data fingerprint, seed, steps."""

    region: RegionName = "lungs"
    channels: Channels = 1
    thresholds: dict[str, NamedThreshold] = field(default_factory=dict)
    """Other thresholds, by name."""

    @property
    def kind(self) -> ImageKind:
        """What images the network is for."""
        return ImageKind(region=self.region, channels=self.channels)

    def choose_threshold(self, chosen: float | str | None) -> tuple[float, str]:
        """A threshold, and where it is from.

        Args:
            chosen: a number, the name of one of `thresholds`, or None for the stored threshold.

        Raises:
            SettingsError: it is none of these.
        """
        if chosen is None:
            return self.threshold, self.threshold_from
        if isinstance(chosen, str) and chosen in self.thresholds:
            named = self.thresholds[chosen]
            return named.value, f"{chosen}: {named.promise}"
        if isinstance(chosen, str) or not 0 < chosen <= 1:
            names = f", or {', '.join(self.thresholds)}" if self.thresholds else "; these weights name none"
            raise SettingsError(f"threshold is {chosen}; allowed: a number above 0 and up to 1{names}")
        return chosen, "as given"


def supervision(annotator: str | None) -> str:
    """What a method learns from, in words; an annotator whose masks it is trained on makes it an upper bound."""
    if annotator is None:
        return "image labels only"
    return f"masks of annotator {annotator} of the train split: a supervised upper bound"


def digest(path: Path | None = None) -> str:
    """SHA-256 of a weights file, by default the one in the package: shows which weights made a result."""
    if path is not None:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with as_file(DEFAULT) as default:
        return digest(default)


def require_file(path: Path, command: str = "train") -> None:
    """Refuse weights that are not there.

    Args:
        path: a weights file.
        command: that writes such files.

    Raises:
        WeightsError: there is no such file.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - `Path.is_file` raises for a name that is too long
        raise WeightsError(f"{path}: no such file; give a weights file that `lesionsplit {command}` wrote")


def parse_card(kind: type[C], text: str, path: Path) -> C:
    """Check the JSON text of a card that was found in a file.

    Raises:
        WeightsError: the text is not such a card, or is one of another version of lesionsplit.
    """
    try:
        table = parse_json(text)
    except ValueError:
        raise WeightsError(f"{path}: its card is not a JSON object; make the file again") from None
    found = table.get("format", FORMAT)
    if found != FORMAT:
        raise WeightsError(
            f"{path}: is of format {str(found)[:20]}, from another version of lesionsplit; this version reads format "
            f"{FORMAT}: make the file again with it"
        )
    try:
        return from_table(kind, table, source=str(path))
    except SettingsError as error:
        raise WeightsError(f"{error}; is the file from another version of lesionsplit?") from None


def first_line(error: Exception) -> str:
    """The first line of another package's message, at most 120 characters; the error's type if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:120].rstrip(":")
