"""A prompt as a vector of unit length, made outside of any model."""

import hashlib
import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

DIM = 256  # of the built-in embedding
# What a feature weighs, by its kind; a word counts about as much as all of its pieces together.
_WEIGHTS = {'word': 1.0, 'pair': 0.5, 'piece': 0.25}
_PIECES = (3, 4)  # characters
_FILLERS = 'a an and as at by in is it its of on or that the this to with'


def embed(
  prompts: Sequence[str], encoder: str | Path | None = None, *, dim: int = DIM
) -> Float[np.ndarray, 'n d']:
  """Embeds prompts, each to length 1.

  Without ``encoder``: signed hashes of words, neighboring words and pieces of words into ``dim``
  numbers; the same on every machine, no weights, but no meaning either: a word that shares no
  piece with the prompts of training says nothing. ``encoder`` is the folder of a
  sentence-transformers model (extra ``text``), whose own dimension holds; nothing is downloaded.

  Raises ValueError on a prompt without a word, a missing folder or a missing extra.
  """
  if isinstance(prompts, str):
    raise ValueError(f'Give a list of prompts, not the one text "{prompts}".')
  for prompt in prompts:
    if not _words(prompt):
      raise ValueError(f'The prompt "{prompt}" holds no word; describe a manner of outlining.')
  vectors = _encode(prompts, Path(encoder)) if encoder else _hashed(prompts, dim)
  return normalize(vectors)


def normalize(vectors: Float[np.ndarray, 'n d']) -> Float[np.ndarray, 'n d']:
  """Rows scaled to length 1."""
  length = np.linalg.norm(vectors, axis=-1, keepdims=True)
  return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


def interpolate(
  start: Float[np.ndarray, ' d'], end: Float[np.ndarray, ' d'], points: int
) -> Float[np.ndarray, 'n d']:
  """Embeddings on the way from one prompt to another: linear, then scaled to length 1."""
  share = np.linspace(0, 1, points)[:, None]
  return normalize((1 - share) * start + share * end)


def _words(prompt: str) -> list[str]:
  return re.findall(r'[a-z0-9]+', prompt.lower())


def _hashed(prompts: Sequence[str], dim: int) -> Float[np.ndarray, 'n d']:
  vectors = np.zeros((len(prompts), dim))
  for vector, prompt in zip(vectors, prompts, strict=True):
    for feature, weight in _features(prompt).items():
      place, sign = _place(feature, dim)
      vector[place] += sign * weight
  return vectors


def _features(prompt: str) -> dict[str, float]:
  """Features of a prompt and what each weighs; fillers are left out."""
  words, found = _words(prompt), defaultdict(float)
  content = [word for word in words if word not in _words(_FILLERS)] or words
  for word in content:
    found[f'word {word}'] += _WEIGHTS['word']
    framed = f'<{word}>'
    for size in _PIECES:
      for start in range(len(framed) - size + 1):
        found[f'piece {framed[start : start + size]}'] += _WEIGHTS['piece']
  for first, second in itertools.pairwise(content):
    found[f'pair {first} {second}'] += _WEIGHTS['pair']
  return found


def _place(feature: str, dim: int) -> tuple[int, int]:
  """Where a feature goes, and its sign: independent of process and platform, as hash() is not."""
  number = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), 'little')
  return (number >> 1) % dim, 1 if number & 1 else -1


def _encode(prompts: Sequence[str], folder: Path) -> Float[np.ndarray, 'n d']:
  if not folder.is_dir():
    raise ValueError(
      f'The text encoder {folder} is no folder; give one that holds a sentence-transformers model.'
    )
  try:
    from sentence_transformers import SentenceTransformer
  except ImportError as error:
    raise ValueError(
      "A text encoder needs the package sentence-transformers: pip install 'multirater_jax[text]'."
    ) from error
  model = SentenceTransformer(str(folder), device='cpu', local_files_only=True)
  return np.asarray(model.encode(list(prompts), show_progress_bar=False), np.float64)
