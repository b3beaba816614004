"""Read and write files: find cases; NIfTI, NRRD, MetaImage, zip archives, DICOM."""
