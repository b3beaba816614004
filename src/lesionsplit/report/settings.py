"""What can be chosen about volumes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lesionsplit.lungs.find import LungMethod
from lesionsplit.measures.settings import MeasureSettings
from lesionsplit.report.case import Outputs
from lesionsplit.volumes.intensity import Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSettings:
    """What can be chosen about volumes."""

    intensity: Wanted = "auto"
    """What values mean: ``auto`` takes them for Hounsfield units if they look like it, else refuses."""

    force: bool = False
    """Go on where a series is odd but can be read."""

    lungs: Path | None = None
    """A label map on the volume's grid, or a folder with NAME.nii.gz of each case; by default they are found."""

    lung_method: LungMethod = "network"
    lungmask_weights: Path | None = None

    lobes: Path | None = None
    """As ``lungs``; without them nothing is said of lobes."""

    measures: MeasureSettings = field(default_factory=MeasureSettings)
    outputs: Outputs = field(default_factory=Outputs)
