"""What can be chosen about the numbers."""

from __future__ import annotations

from lesionsplit.errors import SettingsError
from lesionsplit.settings import Settings


class MeasureSettings(Settings, frozen=True):
    """Where Hounsfield units are cut, and which lesions count. Ranges hold their lower end, not their upper."""

    well_aerated: tuple[float, float] = (-950.0, -700.0)
    """HU of well-aerated lung, as Colombi et al. (Radiology 2020) cut it; lower is emphysema or trapped air."""

    ground_glass: tuple[float, float] = (-750.0, -300.0)
    """HU of a lesion that veils the vessels without hiding them. Papers differ by 50 HU either way."""

    consolidation: tuple[float, float] = (-300.0, 50.0)
    """HU of a lesion without air; above it lie enhanced vessels and calcium."""

    high_opacity: float = -200.0
    """HU from which a lesion is of high opacity, as Chaganti et al. (Radiology AI 2020) have it."""

    smallest_lesion_ml: float = 0.1
    """Smaller lesions are counted apart, not listed; of 0.1 mL is a ball 6 mm across, the size from which the
    Fleischner Society (2017) would follow a solid nodule. Volumes and shares hold every voxel whatever this is."""

    lesions_listed: int = 50
    """The largest lesions, of which each is measured by itself."""

    smallest_slice_mm2: float = 500.0
    """Slices with less lung have no slice score: the highest hundredth of a few pixels is noise."""

    def __post_init__(self) -> None:
        for name in ("well_aerated", "ground_glass", "consolidation"):
            low, high = getattr(self, name)
            if not low < high:
                raise SettingsError(f"{name}: {low:g} to {high:g} HU; allowed: a range whose lower end comes first")
        if self.ground_glass[1] > self.consolidation[0]:
            raise SettingsError(
                f"ground_glass ends at {self.ground_glass[1]:g} HU, consolidation begins at {self.consolidation[0]:g}; "
                "allowed: ranges that do not overlap, or lesion is counted twice"
            )
        for name in ("smallest_lesion_ml", "lesions_listed", "smallest_slice_mm2"):
            if not getattr(self, name) >= 0:
                raise SettingsError(f"{name}: {getattr(self, name):g}; allowed: 0 and more")
