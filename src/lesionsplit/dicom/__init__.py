"""DICOM series in; DICOM segmentations, heat maps and structured reports out."""
