"""Read DICOM series and segmentations; write segmentations, parametric maps and structured reports."""
