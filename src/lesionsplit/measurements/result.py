"""The measurements of one volume: structs of plain values, ready for JSON.

`measurements.definitions` has the meaning, unit and source of each field. A value that is not available is a
`Missing` with the reason, never a blank, a zero or a NaN.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from lesionsplit.measurements.settings import MeasurementSettings
from lesionsplit.volumes.decomposed import LeftOut


class Missing(msgspec.Struct, frozen=True):
    """The reason why a value is not available."""

    missing: str
    """The reason, such as ``not available: no HU``."""

    def __str__(self) -> str:
        return self.missing


Value: TypeAlias = float | Missing
"""A number, or the reason why there is none."""

Whole: TypeAlias = int | Missing
"""An integer, or the reason why there is none."""

LUNGS = "both lungs"
RIGHT_LUNG = "right lung"
LEFT_LUNG = "left lung"

NO_HU = Missing("not available: no HU")
NO_LOBES = Missing("not computed: no lobes")
NO_LESION = Missing("not computed: no lesion")
NO_LUNG = Missing("not computed: no lung")
NO_SIZE = Missing("not available: pixels of unknown size")
ONE_SLICE = Missing("not computed: one slice")


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """Measurements of a part of the lungs and the lesion in it."""

    name: str
    """`LUNGS`, `RIGHT_LUNG`, `LEFT_LUNG`, or one of `lobes.LOBES`."""

    lung_ml: Value
    lesion_ml: Value
    opacity_percent: Value
    high_opacity_percent: Value
    ground_glass_ml: Value
    consolidation_ml: Value
    other_lesion_ml: Value
    well_aerated_ml: Value
    well_aerated_percent: Value
    lung_mean_hu: Value
    lesion_mean_hu: Value
    lesion_sd_hu: Value
    lesion_p5_hu: Value
    lesion_p25_hu: Value
    lesion_p50_hu: Value
    lesion_p75_hu: Value
    lesion_p95_hu: Value
    lesion_mass_g: Value


class Lesion(msgspec.Struct, frozen=True, kw_only=True):
    """One lesion: voxels connected by a face, an edge or a corner."""

    number: int
    """1 is the largest."""

    side: str
    """``right`` or ``left``, the lung with most of it."""

    lobe: str | Missing
    """One of `lobes.LOBES`, the lobe with most of it."""

    volume_ml: Value
    axial_diameter_mm: Value
    axial_diameter_slice: int
    axial_diameter_from_ras_mm: tuple[float, float, float] | Missing
    """One end of the axial diameter, (x, y, z) in RAS+, in the middle plane of its slice."""

    axial_diameter_to_ras_mm: tuple[float, float, float] | Missing
    """The other end."""

    diameter_mm: Value
    mean_hu: Value
    centre_ras_mm: tuple[float, float, float] | Missing
    """Mean of the centres of its voxels, (x, y, z) in RAS+: to the patient's right, front and head."""

    first_slice: int
    last_slice: int


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A third of a lung's height, see `measurements.zones`."""

    name: str
    """Such as ``upper zone, right lung``."""

    lung_ml: Value
    lesion_ml: Value
    opacity_percent: Value
    grade: Whole
    """0 to 4."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Measurements of each axial slice, from the feet up; see `Volume.axial`."""

    lung_pixels: list[int]
    lesion_pixels: list[int]
    score: list[float | None]
    """`scores.slice_score`; None for slices with too little lung (`MeasurementSettings.smallest_slice_mm2`)."""


class Measurements(msgspec.Struct, frozen=True, kw_only=True):
    """All measurements of one volume. Slices are axial and counted from 1, from the feet up."""

    name: str
    """Of the case, as `Source.name`."""

    regions: list[Region]
    """Both lungs, the right, the left; with a map of lobes, then the five lobes."""

    lesion_count: int
    small_lesion_count: int
    small_lesions_ml: Value
    largest_axial_diameter_mm: Value
    largest_diameter_mm: Value

    slices: int
    lung_slices: int
    lesion_slices: int
    lesion_slices_percent: Value
    first_lesion_slice: Whole
    last_lesion_slice: Whole
    most_affected_slice: Whole
    most_affected_percent: Value

    severity_score: Whole
    lung_severity_score: Whole
    high_opacity_score: Whole
    zone_score: Whole

    threshold: float
    highest_score: Value
    highest_slice_score: Value
    highest_score_slice: Whole

    lesions: list[Lesion]
    """The largest first; at most `MeasurementSettings.lesions_listed`."""

    zones: list[Zone]
    """Six, the right lung's first, each lung from the head down."""

    left_out: list[LeftOut]
    """Findings that are probably normal and in no other number; the largest first."""

    profile: Profile
    settings: MeasurementSettings
    notes: list[str]
    """Limitations that a reader should know: of the files, the lungs, the measurements."""

    def region(self, name: str) -> Region:
        """Return the region of that name.

        Raises:
            KeyError: there is none; lobes exist only with a map of lobes.
        """
        for region in self.regions:
            if region.name == name:
                return region
        raise KeyError(name)
