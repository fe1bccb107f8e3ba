"""Which of XLA's libraries run convolutions on a CPU: flags that must be set before JAX starts."""

import os
from typing import Any

import jax

# By JAX version, as measured (benchmarks/NOTES.md); other versions run as they come. A flag that a
# version does not know would end the process.
_ALWAYS = {(0, 10): '--xla_cpu_experimental_ynn_fusion_type='}  # slower than what it replaces
_BFLOAT16 = {(0, 12): '--xla_cpu_experimental_onednn_custom_call=true'}  # else they run in float32


def choose(dtype: Any) -> None:
  """Adds to XLA_FLAGS what suits a model of this ``dtype``; a flag that is set stays as it is.

  To be called before JAX touches a device; afterwards it has no effect.
  """
  version = jax.__version_info__[:2]
  wanted = [_ALWAYS.get(version)]
  if dtype == 'bfloat16':
    wanted.append(_BFLOAT16.get(version))
  given = os.environ.get('XLA_FLAGS', '').split()
  known = {flag.partition('=')[0] for flag in given}
  given += [flag for flag in wanted if flag and flag.partition('=')[0] not in known]
  if given:
    os.environ['XLA_FLAGS'] = ' '.join(given)
