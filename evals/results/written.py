"""How numbers are written."""

import math


def share(value: float | None, digits: int = 2) -> str:
  """Writes a share as the paper prints it: '.37', '1.00'."""
  if value is None or math.isnan(value):
    return '–'
  text = f'{abs(value):.{digits}f}'
  negative = value < 0 and float(text) != 0
  return ('−' if negative else '') + (text[1:] if text.startswith('0') else text)


def signed(value: float | None, digits: int = 2) -> str:
  """Writes '+.05', '−.05' or '.00'."""
  text = share(value, digits)
  return '+' + text if value is not None and round(value, digits) > 0 else text


def probability(p: float) -> str:
  """Writes 'p = .03' or 'p < .001'."""
  return 'p < .001' if p < 0.001 else f'p = {share(p, 3 if p < 0.1 else 2)}'


def about(number: int) -> str:
  """A number that is an estimate, rounded up to two digits: '88', '350', '1,300'; 'over 100,000' from there on."""
  if number > 100_000:
    return 'over 100,000'
  unit = 10 ** max(0, len(str(number)) - 2)
  return f'{math.ceil(number / unit) * unit:,}'
