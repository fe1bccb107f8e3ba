"""A trained run as StableHLO programs that need JAX alone, with a file that says what they are."""

import hashlib
import importlib.util
import json
import os
import shutil
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp

from multirater_jax.exported import FORMAT, SIDECAR
from multirater_jax.method import image_keys
from multirater_jax.model import load
from multirater_jax.trained import run_facts

PLATFORMS = ('cpu', 'cuda', 'tpu')


def export(
  workdir: Path, output: Path, *, stage: str | None = None, num_samples: int = 16
) -> list[str]:
  """Writes ``sample.stablehlo``, ``personalize.stablehlo`` and ``model.json`` into a new folder.

  ``sample(seed, image)`` -> [b s h w k] and ``personalize(seed, image, style)`` -> [b r h w k] take
  any batch of images [b size size c] in [0, 1], and a style for each rater (``exported`` takes any
  number). The parameters are part of the programs. Row i has the key of image i, as in
  ``multirater_jax.sample``. Returns the names of the programs.

  Raises CheckpointError where there is no trained stage, FileExistsError where ``output`` exists,
  ImportError without flatbuffers.
  """
  if importlib.util.find_spec('flatbuffers') is None:
    raise ImportError("Exporting needs flatbuffers: pip install 'multirater_jax[export]'.")
  if output.exists():
    raise FileExistsError(f'{output} exists; remove it or choose another folder.')
  model, facts = load(workdir, stage), run_facts(workdir)
  method, params = model.method, jax.tree.map(jnp.asarray, model.params)

  def sample(seed, image):
    return method.sample(params, _keys(seed, image), image, num_samples)

  def personalize(seed, image, style):
    return method.personalize(params, _keys(seed, image), image, style)

  scope = jax.export.SymbolicScope()
  channels = len(facts.fingerprint['intensity'])
  (batch,) = jax.export.symbolic_shape('b', scope=scope)
  seed = jax.ShapeDtypeStruct((), jnp.uint32)
  image = jax.ShapeDtypeStruct((batch, model.size, model.size, channels), jnp.float32)
  programs = {'sample': (sample, (seed, image))}
  if method.personalize is not None:
    style = jax.ShapeDtypeStruct((len(model.raters),) * 2, jnp.float32)
    programs['personalize'] = (personalize, (seed, image, style))

  temporary = output.with_name(f'.{output.name}.{os.getpid()}.tmp')
  temporary.mkdir(parents=True)
  try:
    digests = {}
    for name, (function, shapes) in programs.items():
      program = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*shapes).serialize()
      (temporary / f'{name}.stablehlo').write_bytes(program)
      digests[name] = hashlib.sha256(program).hexdigest()
    facts_of = {
      'format': FORMAT,
      'programs': digests,
      'platforms': PLATFORMS,
      'method': facts.config['method'],
      'stage': stage or facts.config['stages'][-1],
      'raters': model.raters,
      'num_classes': model.num_classes,
      'num_samples': num_samples,
      'size': model.size,
      'channels': channels,
      'percentiles': model.percentiles,  # of each image that become 0 and 1; null: type's range
      'jax': jax.__version__,
    }
    (temporary / SIDECAR).write_text(json.dumps(facts_of, indent=1) + '\n')
    os.replace(temporary, output)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
  return list(programs)


def _keys(seed, image):
  return image_keys(jax.random.key(seed), jnp.arange(image.shape[0]))
