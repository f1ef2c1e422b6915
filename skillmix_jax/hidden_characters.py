"""What others wrote, shown so that it cannot act on a terminal or a page, or hide."""

import unicodedata

# Cc control, Cf format (right-to-left marks), Cs lone surrogates, Co private, Cn unassigned, Zl and Zp line breaks
_HIDDEN = ('Cc', 'Cf', 'Cs', 'Co', 'Cn', 'Zl', 'Zp')


def visible(text: str) -> str:
  """Returns the text with control and format characters spelled out; line breaks and tabs stay."""
  return ''.join(f'\\u{ord(c):04x}' if unicodedata.category(c) in _HIDDEN and c not in '\n\t' else c for c in text)
