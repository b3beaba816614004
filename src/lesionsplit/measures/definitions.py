"""What each number is: one line a field of `measures.result`, from which every table, page and report is made.

Explanations are for readers of a CT; where ranges can be set, they say the range that was used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lesionsplit.measures.settings import MeasureSettings

CHAGANTI: Final = "Chaganti et al., Radiology: Artificial Intelligence 2020"
PAN: Final = "Pan et al., Radiology 2020"
COLOMBI: Final = "Colombi et al., Radiology 2020"
FLEISCHNER: Final = "MacMahon et al. (Fleischner Society), Radiology 2017"

UCUM: Final = {"mL": "mL", "%": "%", "HU": "[hnsf'U]", "g": "g", "mm": "mm", "": "1"}
"""Units as DICOM writes them."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One number."""

    key: str
    """The field of the struct."""

    name: str
    unit: str
    """One of `UCUM`; empty where a number has none."""

    digits: int
    """Decimals that mean something to a reader."""

    explanation: str
    """What it means; ``{field}`` stands for a setting, see `explain`."""

    source: str = ""
    """Who defined it, where it is not plain geometry."""

    def explain(self, settings: MeasureSettings) -> str:
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
        f"{percent} % of the lesion's voxels are no denser.",
    )


REGION: Final = (
    Definition("lung_ml", "lung volume", "mL", 0, "Air, tissue and lesion within the outline of the lung."),
    Definition("lesion_ml", "lesion volume", "mL", 1, "Lung voxels whose lesion score reaches the threshold."),
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
        "Share of the lung volume that is lesion of {high_opacity} HU or more: dense lesion, as consolidation is.",
        CHAGANTI,
    ),
    Definition(
        "ground_glass_ml",
        "ground glass",
        "mL",
        1,
        "Lesion of {ground_glass}, where vessels can still be seen through it. Ranges differ between papers.",
    ),
    Definition(
        "consolidation_ml",
        "consolidation",
        "mL",
        1,
        "Lesion of {consolidation}, which has no air left and hides vessels. Ranges differ between papers.",
    ),
    Definition(
        "other_lesion_ml",
        "lesion of other density",
        "mL",
        1,
        "Lesion neither in the range of ground glass nor in that of consolidation, so that the three add up.",
    ),
    Definition(
        "well_aerated_ml",
        "well-aerated lung",
        "mL",
        0,
        "Lung of {well_aerated}, marked as lesion or not.",
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
        "Mean over all of the lung, lesion and vessels with it; it rises as the patient breathes out.",
    ),
    Definition("lesion_mean_hu", "mean lesion density", "HU", 0, "Mean over the lesion's voxels."),
    Definition("lesion_sd_hu", "lesion density, standard deviation", "HU", 0, "Spread over the lesion's voxels."),
    *map(_percentile, (5, 25, 50, 75, 95)),
    Definition(
        "lesion_mass_g",
        "lesion mass",
        "g",
        1,
        "Weight of the lesion, lung tissue and blood in it included: 1 g a millilitre at 0 HU, nothing at -1000 HU.",
    ),
)
"""Of each `Region`."""

CASE: Final = (
    Definition(
        "lesion_count",
        "lesions",
        "",
        0,
        "Lesions of {smallest_lesion_ml} mL or more; voxels that touch, by a corner too, are one lesion.",
        FLEISCHNER + ", for the size",
    ),
    Definition("small_lesion_count", "specks", "", 0, "Lesions below {smallest_lesion_ml} mL, which may be noise."),
    Definition(
        "small_lesions_ml", "volume of specks", "mL", 2, "Lesion volume in specks; the volumes above hold it too."
    ),
    Definition(
        "largest_axial_diameter_mm",
        "largest axial diameter",
        "mm",
        1,
        "The longest line within one axial slice of one lesion, outer edge to outer edge; of the {lesions_listed} "
        "largest lesions.",
    ),
    Definition(
        "largest_diameter_mm",
        "largest diameter",
        "mm",
        1,
        "The longest line through one lesion in any direction; of the {lesions_listed} largest lesions.",
    ),
    Definition("slices", "slices", "", 0, "Axial slices of the scan."),
    Definition("lung_slices", "slices with lung", "", 0, "Axial slices that show lung."),
    Definition("lesion_slices", "slices with lesion", "", 0, "Axial slices that show at least one voxel of lesion."),
    Definition("lesion_slices_percent", "share of slices with lesion", "%", 0, "Of the slices with lung."),
    Definition("first_lesion_slice", "first slice with lesion", "", 0, "Counted from 1, from the feet up."),
    Definition("last_lesion_slice", "last slice with lesion", "", 0, "Counted from 1, from the feet up."),
    Definition("most_affected_slice", "most affected slice", "", 0, "The slice with the largest area of lesion."),
    Definition("most_affected_percent", "lesion share of that slice", "%", 1, "Share of that slice's lung."),
    Definition(
        "severity_score",
        "CT severity score (0 to 25)",
        "",
        0,
        "Each lobe's share of lesion as 0 none, 1 below 5 %, 2 up to 25 %, 3 below 50 %, 4 up to 75 %, 5 above; "
        "added up. Radiologists give it by eye; this one is of measured volumes.",
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
        "As the lung severity score, of lesion of {high_opacity} HU or more.",
        CHAGANTI,
    ),
    Definition("threshold", "threshold", "", 3, "The lesion score, 0 to 1, from which a voxel counts as lesion."),
    Definition("highest_score", "highest voxel score", "", 3, "The highest lesion score, 0 to 1, in the lungs."),
    Definition(
        "highest_slice_score",
        "highest slice score",
        "",
        3,
        "Whether there is lesion at all, 0 to 1: of each slice with {smallest_slice_mm2} mm² of lung or more the mean "
        "over the highest hundredth of its lung, and of these the highest. It tells images with lesion from those "
        "without; it says nothing of how much there is.",
    ),
    Definition("highest_score_slice", "slice of the highest slice score", "", 0, "Counted from 1, from the feet up."),
)
"""Of `Measures` itself."""

LESION: Final = (
    Definition("number", "lesion", "", 0, "The largest is 1."),
    Definition("side", "lung", "", 0, "Where most of it lies."),
    Definition("lobe", "lobe", "", 0, "Where most of it lies."),
    Definition("volume_ml", "volume", "mL", 2, "Voxels times a voxel's volume."),
    Definition(
        "axial_diameter_mm",
        "axial diameter",
        "mm",
        1,
        "The longest line within one axial slice, outer edge to outer edge.",
    ),
    Definition("axial_diameter_slice", "slice of that diameter", "", 0, "Counted from 1, from the feet up."),
    Definition("diameter_mm", "diameter", "mm", 1, "The longest line in any direction."),
    Definition("mean_hu", "mean density", "HU", 0, "Mean over its voxels."),
    Definition(
        "centre_ras_mm", "centre", "mm", 0, "In the scanner's millimetres, towards the patient's right, front and head."
    ),
    Definition("first_slice", "first slice", "", 0, "Counted from 1, from the feet up."),
    Definition("last_slice", "last slice", "", 0, "Counted from 1, from the feet up."),
)
"""Of each `Lesion`."""
