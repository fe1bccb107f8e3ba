"""Configs are Python: ``get_config('<data set>[,paper]')``. They import nothing of the library."""
