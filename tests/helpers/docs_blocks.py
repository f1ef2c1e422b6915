"""The shell blocks of README.md and docs/.

A block that cannot run on any machine has, on the line before its fence, a comment that says what it needs, which no
page shows:

    <!-- needs a GPU -->
    ```sh
    ...
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
FENCE = re.compile(r'(?:^ *<!-- needs (?P<needs>.+?) -->\n)?^(?P<indent> *)```sh\n(?P<text>.*?)^ *```$', re.M | re.S)
INLINE = re.compile(r'(?<!`)`(?P<text>(?:[\w./-]*python3? -m |launch/)[^`]+)`(?!`)')
PYTHON = re.compile(r'(?:[\w./-]*/)?python3?')
FENCED = re.compile(r'^ *```.*?^ *```$', re.M | re.S)
COMMENT = re.compile(r'<!--.*?-->', re.S)
END = re.compile(r'[;&|]+|[<>]+.*|\(|\)')  # of a command


class Block(NamedTuple):
  """One block of a page.

  Attributes:
    page: file name.
    line: of the fence.
    needs: what a machine must have to run it; None: nothing.
    text: the commands.
  """

  page: str
  line: int
  needs: str | None
  text: str


def blocks(page: Path) -> list[Block]:
  """Those of a page, in order."""
  text = page.read_text(encoding='utf-8')
  return [
    Block(page.name, text.count('\n', 0, found.end('indent')) + 1, found['needs'], found['text'])
    for found in FENCE.finditer(text)
  ]


def inline_commands(page: Path) -> list[str]:
  """Commands inside of a sentence or table."""
  prose = FENCE.sub('', page.read_text(encoding='utf-8'))
  return [' '.join(found['text'].split()) for found in INLINE.finditer(prose)]


def prose(text: str) -> str:
  """What is left of a page without code blocks and comments."""
  return COMMENT.sub('', FENCED.sub('', text))


def commands(text: str) -> list[list[str]]:
  """The words of every command, with `NAME='...'`, and the first value of a `for`, put in for `$NAME`."""
  text = re.sub(r'\$\(\(.*?\)\)', '1', text.replace('\\\n', ' '))
  values = re.findall(r"^(\w+)='([^']*)'$", text, re.M) + re.findall(r'for (\w+) in (\S+)', text)
  for name, value in values:
    text = re.sub(rf'\${name}\b', lambda found, value=value: value, text)
  found = []
  for line in text.splitlines():
    lexer = shlex.shlex(line, posix=True, punctuation_chars=';&|<>')
    lexer.whitespace_split, lexer.commenters = True, '#'
    words: list[str] = []
    for word in [*lexer, ';']:
      if END.fullmatch(word):
        found.append(words)
        words = []
      else:
        words.append(word)
  return [words for words in found if words]


def module_call(words: list[str]) -> list[str] | None:
  """[module, argument, ...] where a command runs one of Python's modules; None where it does not."""
  for at, word in enumerate(words):
    if PYTHON.fullmatch(word) and words[at + 1 : at + 2] == ['-m']:
      return words[at + 2 :]
    if word == 'launch/local.sh':
      return words[at + 2 :]
  return None
