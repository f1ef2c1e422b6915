"""README.md and the first page of docs/ are short, and explain every word before they use it."""

import re

import pytest
from helpers.docs_blocks import COMMENT, PAGES, ROOT, prose

# What a reader of the first page may not know. Each must be explained where it is first used: in bold.
TERMS = (
  'skill', 'k', 'student', 'grader', 'full marks', 'held-out', 'base', 'D(1)', 'D(1,2)', 'D(1,2,3)', 'vote', 'decoy',
  'cell', 'catalog', 'ledger', 'manifest', 'workdir', 'generation', 'contrast', 'arm', 'fingerprint', 'logits',
)  # fmt: skip


def unexplained(text: str) -> list[str]:
  """Terms whose first use is not in bold, where the sentence explains them."""
  text = re.sub(r'\]\([^)]*\)', ']', prose(text))  # a reader sees no addresses
  text = re.sub(r'`[^`]*`', '', text)  # names of commands and files
  bold = [match.span() for match in re.finditer(r'\*\*.+?\*\*', text, re.S)]
  wrong = []
  for term in TERMS:
    words = r'\s+'.join(re.escape(word) for word in term.split())
    first = re.search(rf'(?<![\w-]){words}(?:s|ed)?(?![\w-])', text, re.I)
    if first and not any(begin <= first.start() and first.end() <= end for begin, end in bold):
      wrong.append(term)
  return wrong


@pytest.mark.parametrize('name', ['README.md', 'docs/getting-started.md'])
def test_words_are_explained_before_they_are_used(name):
  assert unexplained((ROOT / name).read_text()) == []


def test_an_unexplained_word_is_noticed():
  assert unexplained('A **skill** is a way to write.\n\n| D(1) | full\nmarks |\n') == ['full marks', 'D(1)']
  assert unexplained('Skills.\n\n**skill**: a way to write') == ['skill']
  assert unexplained('![A student](x.svg) **grader**') == ['student']


def test_the_first_page_is_short():
  words = [word for word in COMMENT.sub('', (ROOT / 'README.md').read_text()).split() if re.search(r'\w', word)]
  assert len(words) <= 900


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_python_is_spelled_in_the_same_way(page):
  """`python` is the one of .venv, as README.md and the first page of docs/ say."""
  assert '.venv/bin/python' not in page.read_text()
