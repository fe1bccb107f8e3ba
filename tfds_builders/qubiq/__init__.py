"""The segmentation tasks of the challenge on the uncertainty of several raters (QUBIQ)."""
