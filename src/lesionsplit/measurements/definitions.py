"""Name, unit and explanation of each field of `measurements.result`, for all tables and reports.

Explanations are for readers of a CT and include the ranges that were used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lesionsplit.measurements.settings import MeasurementSettings

CHAGANTI: Final = "Chaganti et al., Radiology: Artificial Intelligence 2020"
PAN: Final = "Pan et al., Radiology 2020"
COLOMBI: Final = "Colombi et al., Radiology 2020"
INOUE: Final = "compared with other scores by Inoue et al., European Radiology 2022"
FLEISCHNER: Final = "MacMahon et al. (Fleischner Society), Radiology 2017"


@dataclass(frozen=True, slots=True)
class Definition:
    """One measure."""

    key: str
    """The field of the struct."""

    name: str
    unit: str
    """Empty for numbers without unit."""

    digits: int
    """Meaningful decimals."""

    explanation: str
    """Its meaning; ``{field}`` stands for a setting, see `explain`."""

    source: str = ""
    """The paper that defines it, if it is not simple geometry."""

    def explain(self, settings: MeasurementSettings) -> str:
        """The explanation, with the settings that were used."""
        ranges = {
            name: "{:g} to {:g} HU".format(*getattr(settings, name))
            for name in ("well_aerated", "ground_glass", "consolidation")
        }
        numbers = {
            name: f"{getattr(settings, name):g}"
            for name in ("high_opacity", "smallest_lesion_ml", "lesions_listed", "smallest_slice_mm2")
        }
        return self.explanation.format(**ranges, **numbers)


def _percentile(percent: int) -> Definition:
    name = "median" if percent == 50 else f"{percent}th percentile"
    return Definition(
        f"lesion_p{percent}_hu",
        f"lesion density, {name}",
        "HU",
        0,
        f"{percent} % of the voxels of the lesion have at most this density.",
    )


REGION: Final = (
    Definition("lung_ml", "lung volume", "mL", 0, "Air, tissue and lesion within the outline of the lung."),
    Definition("lesion_ml", "lesion volume", "mL", 1, "Lung voxels with a lesion score of at least the threshold."),
    Definition(
        "opacity_percent",
        "percentage of opacity",
        "%",
        2,
        "Share of the lung volume that is lesion.",
        CHAGANTI,
    ),
    Definition(
        "high_opacity_percent",
        "percentage of high opacity",
        "%",
        2,
        "Share of the lung volume that is lesion of {high_opacity} HU or more: dense lesion such as consolidation.",
        CHAGANTI,
    ),
    Definition(
        "ground_glass_ml",
        "ground glass",
        "mL",
        1,
        "Lesion of {ground_glass}, through which vessels are visible. Ranges differ between papers.",
    ),
    Definition(
        "consolidation_ml",
        "consolidation",
        "mL",
        1,
        "Lesion of {consolidation}, without air, which hides vessels. Ranges differ between papers.",
    ),
    Definition(
        "other_lesion_ml",
        "lesion of other density",
        "mL",
        1,
        "Lesion outside the ranges of ground glass and consolidation; the three add up to the lesion volume.",
    ),
    Definition(
        "well_aerated_ml",
        "well-aerated lung",
        "mL",
        0,
        "Lung of {well_aerated}, with or without lesion.",
        COLOMBI,
    ),
    Definition(
        "well_aerated_percent", "well-aerated share", "%", 1, "Share of the lung volume of {well_aerated}.", COLOMBI
    ),
    Definition(
        "lung_mean_hu",
        "mean lung density",
        "HU",
        0,
        "Mean over the lung, including lesion and vessels; it increases with expiration.",
    ),
    Definition("lesion_mean_hu", "mean lesion density", "HU", 0, "Mean over the voxels of the lesion."),
    Definition(
        "lesion_sd_hu",
        "lesion density, standard deviation",
        "HU",
        0,
        "Standard deviation over the voxels of the lesion.",
    ),
    *map(_percentile, (5, 25, 50, 75, 95)),
    Definition(
        "lesion_mass_g",
        "lesion mass",
        "g",
        1,
        "Mass of the lesion, including lung tissue and blood: 1 g/mL at 0 HU, 0 g/mL at -1000 HU.",
    ),
)
"""Measures of each `Region`."""

CASE: Final = (
    Definition(
        "lesion_count",
        "lesions",
        "",
        0,
        "Lesions of {smallest_lesion_ml} mL or more; voxels that touch, even by a corner, are one lesion.",
        FLEISCHNER + ", for the size",
    ),
    Definition("small_lesion_count", "small lesions", "", 0, "Lesions below {smallest_lesion_ml} mL, possibly noise."),
    Definition(
        "small_lesions_ml",
        "volume of small lesions",
        "mL",
        2,
        "Lesion volume in small lesions; the volumes above include it.",
    ),
    Definition(
        "largest_axial_diameter_mm",
        "largest axial diameter",
        "mm",
        1,
        "The longest line in one axial slice of one lesion, between outer edges; of the {lesions_listed} largest "
        "lesions.",
    ),
    Definition(
        "largest_diameter_mm",
        "largest diameter",
        "mm",
        1,
        "The longest line through one lesion in any direction; of the {lesions_listed} largest lesions.",
    ),
    Definition("slices", "slices", "", 0, "Axial slices of the scan."),
    Definition("lung_slices", "slices with lung", "", 0, "Axial slices with lung."),
    Definition("lesion_slices", "slices with lesion", "", 0, "Axial slices with at least one voxel of lesion."),
    Definition("lesion_slices_percent", "share of slices with lesion", "%", 0, "Share of the slices with lung."),
    Definition("first_lesion_slice", "first slice with lesion", "", 0, "Counted from 1, from the feet up."),
    Definition("last_lesion_slice", "last slice with lesion", "", 0, "Counted from 1, from the feet up."),
    Definition("most_affected_slice", "most affected slice", "", 0, "The slice with the largest lesion area."),
    Definition("most_affected_percent", "lesion share of that slice", "%", 1, "Share of the lung in that slice."),
    Definition(
        "severity_score",
        "CT severity score (0 to 25)",
        "",
        0,
        "Each lobe's share of lesion as 0 none, 1 below 5 %, 2 up to 25 %, 3 below 50 %, 4 up to 75 %, 5 above; "
        "added up. Radiologists estimate it visually; here it is computed from measured volumes.",
        PAN,
    ),
    Definition(
        "lung_severity_score",
        "lung severity score (0 to 20)",
        "",
        0,
        "Each lobe's share of lesion as 0 none, 1 up to 25 %, 2 up to 50 %, 3 up to 75 %, 4 above; added up.",
        CHAGANTI,
    ),
    Definition(
        "high_opacity_score",
        "lung high opacity score (0 to 20)",
        "",
        0,
        "As the lung severity score, for lesion of {high_opacity} HU or more.",
        CHAGANTI,
    ),
    Definition(
        "zone_score",
        "zone score (0 to 24)",
        "",
        0,
        "Each of six zones as 0 less than {smallest_lesion_ml} mL of lesion, 1 below 25 %, 2 below 50 %, 3 below 75 %, "
        "4 above; added up. Zones are equal thirds of each lung's height, an estimate: radiologists cut at carina and "
        "inferior pulmonary vein.",
        INOUE,
    ),
    Definition("threshold", "threshold", "", 3, "The lowest lesion score, 0 to 1, of a lesion voxel."),
    Definition("highest_score", "highest voxel score", "", 3, "The highest lesion score, 0 to 1, in the lungs."),
    Definition(
        "highest_slice_score",
        "highest slice score",
        "",
        3,
        "The maximum of the slice scores, 0 to 1. A slice score is the mean over the highest 1 % of the lung in a "
        "slice "
        "with at least {smallest_slice_mm2} mm² of lung. It separates scans with lesion from scans without; it does "
        "not measure the amount of lesion.",
    ),
    Definition("highest_score_slice", "slice of the highest slice score", "", 0, "Counted from 1, from the feet up."),
)
"""Measures of the whole scan, in `Measurements`."""

ZONE: Final = (
    Definition("lung_ml", "lung volume", "mL", 0, "Of this third of the lung's height."),
    Definition("lesion_ml", "lesion volume", "mL", 1, "Lesion in it."),
    Definition("opacity_percent", "percentage of opacity", "%", 2, "Share of its volume that is lesion."),
    Definition(
        "grade",
        "grade",
        "",
        0,
        "0 less than {smallest_lesion_ml} mL of lesion, 1 below 25 %, 2 below 50 %, 3 below 75 %, 4 above.",
    ),
)
"""Measures of each `Zone`."""

LESION: Final = (
    Definition("number", "lesion", "", 0, "The largest is 1."),
    Definition("side", "lung", "", 0, "With most of the lesion."),
    Definition("lobe", "lobe", "", 0, "With most of the lesion."),
    Definition("volume_ml", "volume", "mL", 2, "Number of voxels times the volume of a voxel."),
    Definition(
        "axial_diameter_mm",
        "axial diameter",
        "mm",
        1,
        "The longest line in one axial slice, between outer edges.",
    ),
    Definition("axial_diameter_slice", "slice of that diameter", "", 0, "Counted from 1, from the feet up."),
    Definition(
        "axial_diameter_from_ras_mm",
        "from",
        "mm",
        0,
        "One end of the axial diameter, in scanner coordinates as centre.",
    ),
    Definition("axial_diameter_to_ras_mm", "to", "mm", 0, "The other end of the axial diameter."),
    Definition("diameter_mm", "diameter", "mm", 1, "The longest line in any direction."),
    Definition("mean_hu", "mean density", "HU", 0, "Mean over its voxels."),
    Definition("centre_ras_mm", "centre", "mm", 0, "In scanner coordinates, to the patient's right, front and head."),
    Definition("first_slice", "first slice", "", 0, "Counted from 1, from the feet up."),
    Definition("last_slice", "last slice", "", 0, "Counted from 1, from the feet up."),
)
"""Measures of each `Lesion`."""
