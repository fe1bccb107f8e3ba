"""LIDC-IDRI from the raw DICOM and XML files of the archive."""
