"""Nasopharyngeal carcinoma on three MRI sequences, outlined by the same four oncologists."""
