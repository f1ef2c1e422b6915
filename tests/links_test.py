"""README.md and docs/: every link leads somewhere, and the site builds."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.docs_blocks import PAGES, ROOT, prose

LINK = re.compile(r'\]\(([^)\s]+)\)')


def anchors(page: Path) -> set[str]:
  """The anchors of a page's headings, as GitHub and mkdocs make them."""
  headings = re.findall(r'^#+ (.+)$', prose(page.read_text()), re.M)
  return {re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-') for heading in headings}


def broken_links(page: Path) -> list[str]:
  broken = []
  for link in LINK.findall(prose(page.read_text())):
    if link.startswith(('http://', 'https://')):
      continue
    name, _, anchor = link.partition('#')
    target = page.parent / name if name else page
    if not target.exists() or (anchor and anchor not in anchors(target)):
      broken.append(link)
  return broken


@pytest.mark.parametrize('page', [*PAGES, ROOT / 'CONTRIBUTING.md'], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
  assert broken_links(page) == []


def test_broken_links_are_noticed(tmp_path):
  page = tmp_path / 'page.md'
  page.write_text('# A title, of sorts\n[a](#a-title-of-sorts) [b](#other) [c](absent.md) [d](page.md#nothing)\n')
  assert broken_links(page) == ['#other', 'absent.md', 'page.md#nothing']


def test_pages_that_files_name_exist():
  code = [path for folder in ('skillmix_jax', 'evals', 'configs') for path in (ROOT / folder).rglob('*.py')]
  for path in [ROOT / 'CHANGELOG.md', ROOT / 'CONTRIBUTING.md', *code]:
    for name in re.findall(r'\bdocs/[\w/-]+\.\w+', re.sub(r'https?://\S+', '', path.read_text())):
      assert (ROOT / name).is_file(), f'{path.relative_to(ROOT)} names {name}'


def test_the_site_builds(tmp_path):
  if importlib.util.find_spec('material') is None:
    pytest.skip('mkdocs-material is not installed: make test installs it')
  done = subprocess.run(
    [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet', f'--site-dir={tmp_path}'], cwd=ROOT, text=True,
    env=os.environ | {'NO_MKDOCS_2_WARNING': '1'}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
  )  # fmt: skip
  assert done.returncode == 0, done.stdout
  assert len(list(tmp_path.rglob('*.html'))) > len(PAGES) - 1  # and a page for what is missing
