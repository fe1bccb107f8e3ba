"""Thin command lines over the library, one task each."""
