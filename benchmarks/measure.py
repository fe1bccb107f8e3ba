"""What every benchmark needs: repeated times, a table, the environment, a file of the figures."""

import argparse
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import kernels, memory

Rows = list[dict[str, Any]]


class Times(NamedTuple):
  """Seconds of one call: median, and the range of the middle half of all repeats."""

  median: float
  low: float
  high: float


def times(call: Callable[[], Any], *, repeats: int = 7, least: float = 0.5) -> Times:
  """Times ``call`` after one call that compiles; at least ``repeats`` and ``least`` seconds."""
  jax.block_until_ready(call())
  found: list[float] = []
  while len(found) < repeats or sum(found) < least:
    start = time.perf_counter()
    jax.block_until_ready(call())
    found.append(time.perf_counter() - start)
  low, median, high = np.percentile(found, (25, 50, 75))
  return Times(float(median), float(low), float(high))


def environment() -> dict[str, Any]:
  """The machine and the versions that figures belong to."""
  device = jax.devices()[0]
  packages = ('jax', 'jaxlib', 'flax', 'numpy')
  return {
    'date': time.strftime('%Y-%m-%d'),
    'device': f'{jax.device_count()} x {device.device_kind} ({device.platform})',
    'cpus': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
    'load': round(os.getloadavg()[0], 2),  # above 0 at the start: other work disturbs the times
    'python': platform.python_version(),
    **{name: importlib.metadata.version(name) for name in packages},
  }


def parser(description: str) -> argparse.ArgumentParser:
  """The options that all benchmarks share."""
  found = argparse.ArgumentParser(description=description.splitlines()[0])
  found.add_argument('--quick', action='store_true', help='smaller and fewer cases')
  found.add_argument('--output', type=Path, help='JSON file for the figures')
  return found


def show(title: str, rows: Rows) -> None:
  """Prints rows with common keys as one table."""
  print(f'\n{title}')
  if not rows:
    print('(nothing measured)')
    return
  lines = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  for line in lines:
    cells = [
      cell.ljust(width) if i == 0 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    print('  '.join(cells), flush=True)


def write(path: Path | None, tables: dict[str, Rows]) -> None:
  """Writes all tables with the environment, where a file was asked for."""
  if path:
    content = json.dumps({'environment': environment(), 'tables': tables}, indent=2)
    temporary = path.with_name(f'.{path.name}.tmp')
    temporary.write_text(content + '\n')
    temporary.replace(path)


def run(
  tables: Sequence[tuple[str, Callable[[], Rows]]], output: Path | None, *, dtype: str | None = None
) -> None:
  """Measures, prints and writes the tables in turn, in a process set up to train in ``dtype``."""
  memory.keep_freed()
  kernels.choose(dtype)
  print(', '.join(f'{key} {value}' for key, value in environment().items()))
  found = {}
  for title, measure in tables:
    found[title] = measure()
    show(title, found[title])
    write(output, found)


def _text(value: Any) -> str:
  if isinstance(value, float):
    return f'{value:.4g}'
  return str(value)
