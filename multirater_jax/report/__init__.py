"""One self-contained page about a run, made from the files of its work directory only."""

from multirater_jax.report.page import write

__all__ = ['write']
