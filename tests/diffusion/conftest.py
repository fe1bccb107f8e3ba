import jax
import pytest


@pytest.fixture
def x64():
  """Double precision for closed forms."""
  with jax.enable_x64(True):
    yield
