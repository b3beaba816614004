"""All codes in our DICOM objects.

Standard codes are from DICOM PS3.16 (SNOMED CT, DCM, UCUM, LOINC). Concepts without one use our own scheme,
`SCHEME`, which every object that uses it declares: the percentage of opacity, the severity scores of the COVID
literature, the score of the network.

The lesion is coded as SCT 52988006 "Lesion" under "Morphologically Abnormal Structure", in the lung. The network is
trained to distinguish abnormal from normal lung, which supports no narrower code: "ground glass opacity" is a
density (the mask includes consolidation), "infiltrate" with the modifier "COVID-19" a diagnosis.
"""

from __future__ import annotations

from typing import Final

from pydicom.sr.coding import Code

SCHEME: Final = "99LESIONSPLIT"
SCHEME_NAME: Final = "Codes of lesionsplit, where DICOM has none"

# what a segment is
ABNORMAL: Final = Code("49755003", "SCT", "Morphologically Abnormal Structure")
ANATOMY: Final = Code("91723000", "SCT", "Anatomical Structure")
LESION: Final = Code("52988006", "SCT", "Lesion")
LUNG: Final = Code("39607008", "SCT", "Lung")
RIGHT: Final = Code("24028007", "SCT", "Right")
LEFT: Final = Code("7771000", "SCT", "Left")

# how it was made
ARTIFICIAL_INTELLIGENCE: Final = Code("123110", "DCM", "Artificial Intelligence")
DEVICE: Final = Code("121007", "DCM", "Device")

# the report
CT_CHEST: Final = Code("24627-2", "LN", "CT Chest")

# what is measured
VOLUME: Final = Code("118565006", "SCT", "Volume")
SUM_OF_VOXELS: Final = Code("126030", "DCM", "Sum of segmented voxel method for volume")
ATTENUATION: Final = Code("112031", "DCM", "Attenuation Coefficient")
AREA: Final = Code("42798000", "SCT", "Area")
LENGTH: Final = Code("410668003", "SCT", "Length")
LONG_AXIS: Final = Code("103339001", "SCT", "Long axis")
LESION_COUNT: Final = Code("246206008", "SCT", "Number of lesions")
OPACITY: Final = Code("OPACITY", SCHEME, "Percentage of opacity: share of the lung volume that is lesion")
HIGH_OPACITY: Final = Code("HIGH-OPACITY", SCHEME, "Percentage of high opacity: share of the lung volume")
LESION_VOLUME: Final = Code("LESION-VOLUME", SCHEME, "Volume of the lesion in this lung")
GROUND_GLASS: Final = Code("GROUND-GLASS", SCHEME, "Volume of the lesion in the HU range of ground glass")
CONSOLIDATION: Final = Code("CONSOLIDATION", SCHEME, "Volume of the lesion in the HU range of consolidation")
WELL_AERATED: Final = Code("WELL-AERATED", SCHEME, "Volume of well-aerated lung")
SEVERITY: Final = Code("CTSS", SCHEME, "CT severity score, 0 to 25")
LUNG_SEVERITY: Final = Code("LSS", SCHEME, "Lung severity score, 0 to 20")
HIGH_OPACITY_SCORE: Final = Code("LHOS", SCHEME, "Lung high opacity score, 0 to 20")
ZONE_SCORE: Final = Code("ZONE-SCORE", SCHEME, "Zone score, 0 to 24, of equal thirds of each lung")
SCORE: Final = Code("LESION-SCORE", SCHEME, "Lesion score of the network, not a probability")

COMMENT: Final = Code("121106", "DCM", "Comment")

# how a number was derived from many
MEAN: Final = Code("373098007", "SCT", "Mean")
MEDIAN: Final = Code("373099004", "SCT", "Median")
STANDARD_DEVIATION: Final = Code("386136009", "SCT", "Standard Deviation")

# units
MILLILITRE: Final = Code("mL", "UCUM", "milliliter")
SQUARE_MILLIMETRE: Final = Code("mm2", "UCUM", "square millimeter")
MILLIMETRE: Final = Code("mm", "UCUM", "mm")
PERCENT: Final = Code("%", "UCUM", "Percent")
HOUNSFIELD: Final = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
NO_UNITS: Final = Code("1", "UCUM", "no units")

# de-identification
BASIC_PROFILE: Final = Code("113100", "DCM", "Basic Application Confidentiality Profile")
