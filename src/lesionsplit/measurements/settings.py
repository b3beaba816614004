"""Settings of the measurements."""

from __future__ import annotations

from lesionsplit.errors import SettingsError
from lesionsplit.settings import Settings


class MeasurementSettings(Settings, frozen=True):
    """Ranges of HU, and which lesions count. Ranges include their lower end, not their upper end."""

    well_aerated: tuple[float, float] = (-950.0, -700.0)
    """HU of well-aerated lung, after Colombi et al. (Radiology 2020); lower is emphysema or trapped air."""

    ground_glass: tuple[float, float] = (-750.0, -300.0)
    """HU of a lesion through which vessels are visible. Papers differ by 50 HU either way."""

    consolidation: tuple[float, float] = (-300.0, 50.0)
    """HU of a lesion without air; higher values are enhanced vessels and calcium."""

    high_opacity: float = -200.0
    """Lowest HU of high opacity, after Chaganti et al. (Radiology AI 2020)."""

    smallest_lesion_ml: float = 0.1
    """Smaller lesions are counted separately and not listed; a ball of 6 mm has 0.1 mL, the size from which the
    Fleischner Society (2017) follows a solid nodule. Volumes and percentages always include every voxel."""

    lesions_listed: int = 50
    """Number of largest lesions that are measured individually."""

    smallest_slice_mm2: float = 500.0
    """Slices with less lung have no slice score: the highest hundredth of a few pixels is noise."""

    def __post_init__(self) -> None:
        for name in ("well_aerated", "ground_glass", "consolidation"):
            low, high = getattr(self, name)
            if not low < high:
                raise SettingsError(f"{name}: {low:g} to {high:g} HU; allowed: a lower end below the upper end")
        if self.ground_glass[1] > self.consolidation[0]:
            raise SettingsError(
                f"ground_glass ends at {self.ground_glass[1]:g} HU, consolidation begins at {self.consolidation[0]:g}; "
                "allowed: ranges that do not overlap"
            )
        for name in ("smallest_lesion_ml", "lesions_listed", "smallest_slice_mm2"):
            if not getattr(self, name) >= 0:
                raise SettingsError(f"{name}: {getattr(self, name):g}; allowed: 0 or more")
