"""Takes a key out of what a server says, whether it shows all of it, parts of it, or its base64."""

import base64
import re

SHORTEST = 12  # letters; what is shorter protects nothing ('EMPTY', 'none'), and texts may hold it as a word
WITH_HALVES = 16  # a half of a shorter key may be a word too
LONGEST_PIECE = 16  # of a longer key so many letters tell too much

HIDDEN = '***'


class Redaction:
  """Knows one key; '' hides nothing."""

  def __init__(self, key: str):
    """Cuts the key, and its base64 at each of the three places that it may begin in a longer one, into pieces."""
    self._key, num = key, len(key)
    self._size = min(LONGEST_PIECE, num // 2) if num >= WITH_HALVES else num
    forms = [key, *_base64(key)] if num >= SHORTEST else []
    self._pieces = frozenset(
      form[start : start + self._size] for form in forms for start in range(len(form) - self._size + 1)
    )
    letters = ''.join(map(re.escape, sorted(set(''.join(forms)))))
    self._run = re.compile(f'[{letters}]{{{self._size},}}') if forms else None  # words are shorter than a piece

  def hide(self, text: str) -> str:
    """Returns the text without the key, its halves and its base64; everything else stays as it is."""
    return self._run.sub(self._hide_pieces, text) if self._run else text

  def _hide_pieces(self, found: re.Match[str]) -> str:
    text, size, end = found[0], self._size, 0
    kept: list[str] = []
    for start in range(len(text) - size + 1):
      if text[start : start + size] not in self._pieces:
        continue
      if start > end or not kept:
        kept += [text[end:start], HIDDEN]
      end = start + size
    return ''.join([*kept, text[end:]])

  def one_line(self, text: str) -> str:
    """Puts a text on one line, cut, and without whatever looks like a key or a part that servers like to show."""
    if self._key:
      text = text.replace(self._key, HIDDEN)
    text = self.hide(text)
    return ' '.join(re.sub(r'\S*\*{3,}\S*|\bsk-[\w*-]+', HIDDEN, text).split())[:400]


def _base64(key: str) -> list[str]:
  found = []
  for before in range(3):  # bytes; 'Bearer ' or a user's name comes before the key in what is encoded
    content = bytes(before) + key.encode()
    first, last = -(-before * 8 // 6), len(content) * 8 // 6  # letters that no other byte has a part in
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
      found.append(encode(content).decode()[first:last])
  return found
