"""The one error of bad input data."""


class DataError(ValueError):
  """Input data are missing, damaged or contradictory; the message says where and what to do."""
