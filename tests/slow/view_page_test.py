"""The page of `view --html` in a browser: it fits a phone, is readable in both themes, and what a text says stays text.

Needs `apt-get install chromium` and `pip install playwright axe-playwright-python`; skipped without them.
"""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from view_test import HOSTILE, _dialog, _make, _page

playwright = pytest.importorskip('playwright.sync_api')
axe_package = pytest.importorskip('axe_playwright_python')
CHROMIUM = shutil.which('chromium')
if CHROMIUM is None:
  pytest.skip('no chromium: apt-get install chromium', allow_module_level=True)

AXE = next(Path(axe_package.__file__).parent.rglob('axe.min.js'))


@pytest.fixture(scope='module')
def pages(tmp_path_factory) -> list[Path]:
  """One with texts that would like to act, one of packed rows."""
  folder = tmp_path_factory.mktemp('page')
  dialogs = [_dialog(0, f'{HOSTILE} <img src=x onerror="window.hacked=1"> {"x" * 400}'), *map(_dialog, range(1, 12))]
  pages = []
  for packing in (False, True):
    data = _make(folder / str(packing), dialogs, length=512)
    pages.append(folder / f'{packing}.html')
    pages[-1].write_text(_page(data, num_rows=12, packing=packing)[1], encoding='utf-8')
  return pages


@pytest.mark.parametrize('width', [1280, 400])
@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_the_page_fits_and_is_readable(pages, width, theme):
  with playwright.sync_playwright() as p:
    browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
    for path in pages:
      context = browser.new_context(viewport={'width': width, 'height': 900}, color_scheme=theme, bypass_csp=True)
      page, requests = context.new_page(), []
      page.on('request', lambda request, requests=requests: requests.append(request.url))
      page.goto(path.as_uri())
      assert page.evaluate('document.documentElement.scrollWidth') <= width
      assert page.evaluate('window.hacked') is None and requests == [path.as_uri()]
      page.add_script_tag(path=AXE)
      found = page.evaluate('axe.run()')['violations']
      assert not found, [(one['id'], [node['html'][:200] for node in one['nodes'][:2]]) for one in found]
    browser.close()
