"""The page in a browser: it opens fast, filters, follows links, and what models wrote stays text.

Needs `apt-get install chromium` and `pip install playwright axe-playwright-python`; skipped without them.
"""

import re
import shutil
import time
from pathlib import Path

import pytest
from helpers import page_fixtures as fixtures

from evals import page as pages
from evals.page import browser as samples
from evals.results.people import Audit
from skillmix_jax.hidden_characters import visible

playwright = pytest.importorskip('playwright.sync_api')
axe_package = pytest.importorskip('axe_playwright_python')
CHROMIUM = shutil.which('chromium')
if CHROMIUM is None:
  pytest.skip('no chromium: apt-get install chromium', allow_module_level=True)

expect = playwright.expect
AXE = next(Path(axe_package.__file__).parent.rglob('axe.min.js'))
# The page's own second, measured on a machine that has nothing else to do; other tests share ours.
LIMIT_S = 1.0


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """full.html: 3 students x 3 settings x k = 1..5 x 100 x 3 samples; small.html: 12 combinations a cell."""
  path = tmp_path_factory.mktemp('page')
  for name, num in (('full', 100), ('small', 12)):
    runs = fixtures.three_students(num=num, hostile=fixtures.HOSTILE)
    audits = [Audit('a', 'g', 3, ['ann'], criteria=[], pairs=[])]
    text = pages.render(runs, fixtures.results(), title='SKILL-MIX report', audits=audits)
    (path / f'{name}.html').write_text(text, encoding='utf-8')
  return path


@pytest.fixture(scope='module')
def chromium():
  with playwright.sync_playwright() as p:
    browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
    yield browser
    browser.close()


class Opened:
  """A page and everything that went wrong on it."""

  def __init__(self, chromium, address, **context):
    self.context = chromium.new_context(viewport={'width': 1280, 'height': 900}, **context)
    self.page = self.context.new_page()
    self.faults, self.requests = [], []
    self.page.on('console', lambda message: self.faults.append(message.text))
    self.page.on('pageerror', lambda error: self.faults.append(str(error)))
    self.page.on('dialog', lambda dialog: self.faults.append('a dialog') or dialog.dismiss())
    self.page.on('request', lambda request: self.requests.append(request.url))
    self.page.goto(address)
    self.page.wait_for_selector('html[data-ready]', state='attached')


@pytest.fixture
def open_page(folder, chromium):
  opened = []

  def open_it(name='small', fragment='', **context):
    opened.append(Opened(chromium, (folder / f'{name}.html').as_uri() + fragment, **context))
    return opened[-1].page

  yield open_it
  for one in opened:
    assert one.faults == []
    outside = [url for url in one.requests if not url.startswith((folder.as_uri(), 'data:'))]
    assert outside == []
    assert one.page.evaluate('window.hacked') is None
    one.context.close()


def _processor_seconds(page, act):
  """Seconds that the page's main thread was busy with `act`: what it takes where nothing else runs."""
  session = page.context.new_cdp_session(page)
  session.send('Performance.enable', {'timeDomain': 'threadTicks'})
  read = lambda: {m['name']: m['value'] for m in session.send('Performance.getMetrics')['metrics']}
  before = read()
  act()
  page.evaluate('document.body.offsetHeight')
  return read()['TaskDuration'] - before['TaskDuration']


def _follow(page, act):
  """Lets `act` go to another sample, and waits until the page shows it: the address changes before that."""
  page.evaluate('document.getElementById("detail").firstElementChild.classList.add("before")')
  act()
  expect(page.locator('#detail > .before')).to_have_count(0)


def _unfold(page):
  """Opens prompts and replies, which the page fills only then."""
  for summary in page.locator('#detail summary').all():
    summary.click()
  expect(page.locator('#detail pre:empty')).to_have_count(0)


def test_three_students_fit_in_5_mb(folder):
  assert (folder / 'full.html').stat().st_size < 5_000_000


def test_the_full_page_opens_and_filters_in_a_second(folder, chromium):
  page = chromium.new_page()

  def opening():
    page.goto((folder / 'full.html').as_uri())
    page.wait_for_selector('html[data-ready]', state='attached')

  began = time.perf_counter()
  busy = _processor_seconds(page, opening)
  print(f'opened: {busy:.2f} s of processor, {time.perf_counter() - began:.2f} s by the clock')
  assert busy < LIMIT_S
  for act in (
    lambda: page.select_option('#f-votes', 'split'),
    lambda: page.fill('#f-search', 'promise'),
    lambda: page.select_option('#f-k', '5'),
  ):
    began = time.perf_counter()
    busy = _processor_seconds(page, act)
    print(f'filtered: {busy:.3f} s of processor, {time.perf_counter() - began:.3f} s by the clock')
    assert busy < LIMIT_S
  page.close()


def test_filters_leave_what_they_say(open_page):
  page = open_page()
  count = lambda: int(page.text_content('#count').split()[-1].replace(',', ''))
  assert count() == 3 * 15 * 12 * 3
  page.select_option('#f-run', label='D(1)')
  assert count() == 15 * 12 * 3
  page.select_option('#f-setting', label='held-out')
  assert count() == 5 * 12 * 3
  page.select_option('#f-k', label='k = 2')
  assert count() == 12 * 3
  both = 0
  for marks in ('full', 'partial'):
    page.select_option('#f-marks', marks)
    both += count() if 'No sample' not in page.text_content('#count') else 0
  page.select_option('#f-marks', 'missing')
  missing = 0 if 'No sample' in page.text_content('#count') else count()
  assert both + missing == 12 * 3
  page.click('button[type=reset]')
  page.wait_for_function('document.getElementById("count").textContent.includes("1,620")')
  page.select_option('#f-votes', 'split')
  assert all('≠' in text for text in page.locator('#list li').all_text_contents())
  page.fill('#f-search', 'no such words anywhere')
  assert page.text_content('#count') == 'No sample matches.'
  page.click('button[type=reset]')
  skill = page.locator('#f-skill option').nth(3).text_content()
  page.select_option('#f-skill', label=skill)
  _follow(page, page.locator('#list a').first.click)
  assert skill in page.text_content('#detail .skills')


def test_a_link_opens_its_sample_and_a_reload_keeps_it(open_page):
  page = open_page()
  link = page.locator('#list a').nth(4)
  name = link.get_attribute('href')
  assert name.startswith('#sample=LLaMA-2-13B-Chat')
  text = link.locator('.item-text').text_content()
  _follow(page, link.click)
  assert page.evaluate('location.hash') == name
  assert text[:60] in ' '.join(page.text_content('#detail blockquote').split())
  last = '#sample=D(1%2C2%2C3)-gpt-9/all-k5-0011/3'
  page = open_page(fragment=last)
  assert 'D(1,2,3) · all · k = 5 · generation 3' in page.text_content('#detail')
  assert page.locator('#list a[aria-current=true]').get_attribute('href') == last
  assert page.evaluate('document.getElementById("samples").getBoundingClientRect().top') < 200
  page = open_page(fragment='#sample=no/such/<b>sample')
  assert 'This page holds no sample' in page.text_content('#detail')


def test_the_keyboard_is_enough(open_page):
  page = open_page()
  shown = lambda: page.text_content('#detail .muted:last-child') + page.text_content('#detail .kicker')
  first = shown()
  page.keyboard.press('j')
  second = shown()
  page.keyboard.press('j')
  page.keyboard.press('k')
  assert shown() == second != first
  assert page.evaluate('location.hash').startswith('#sample=')
  page.keyboard.press('/')
  assert page.evaluate('document.activeElement.id') == 'f-search'
  page.keyboard.type('jk/')
  assert page.input_value('#f-search') == 'jk/'
  assert shown() == second  # letters typed into a field move nothing
  page.keyboard.press('Escape')
  assert page.evaluate('document.activeElement.id') != 'f-search'
  assert page.input_value('#f-search') == 'jk/' and page.text_content('#count') == 'No sample matches.'
  page.keyboard.press('Tab')
  outlined = page.evaluate('getComputedStyle(document.activeElement).outlineStyle')
  assert outlined == 'solid'
  page.fill('#f-search', '')
  page.focus('#list a')
  _follow(page, lambda: page.keyboard.press('Enter'))
  page.focus('#detail summary')
  page.keyboard.press('Enter')
  expect(page.locator('#detail pre').first).to_have_text(re.compile('^Greetings!'))


def test_what_a_model_wrote_appears_as_text(open_page):
  page = open_page()
  for number, hostile in enumerate(fixtures.HOSTILE):
    _follow(page, page.locator('#list a').nth(number).click)
    _check_that_it_is_text(page, hostile)


def _check_that_it_is_text(page, hostile):
  shown = page.text_content('#detail blockquote')
  if len(hostile) > samples.TEXT_LIMITS[0]:
    hostile = hostile[: samples.TEXT_LIMITS[0]]
    assert shown.endswith('more characters are not in this page')
  spelled = visible(hostile)
  assert spelled.split('\\u')[0] in shown
  assert '\u202e' not in shown and '\x1b' not in shown
  if '\u202e' in hostile:
    assert '\\u202egnp.exe\\u202c' in shown and 'שלום' in shown
  _unfold(page)
  assert page.locator('#detail pre').count() >= 7
  assert page.evaluate('document.querySelectorAll("#detail script, #detail img, #detail svg").length') == 0
  assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')


def test_named_skills_are_marked(open_page):
  page = open_page()
  page.select_option('#f-votes', 'named')
  _follow(page, page.locator('#list a').first.click)
  marked = page.locator('#detail mark').first.text_content().lower()
  assert marked in page.text_content('#detail .skills').lower()
  assert 'named aloud: earns nothing' in page.text_content('#detail .votes')


def test_prompts_are_put_together_as_the_grader_saw_them(open_page):
  run = fixtures.make_run('LLaMA-2-13B-Chat', num=12, hostile=fixtures.HOSTILE)
  page = open_page(fragment='#sample=LLaMA-2-13B-Chat-gpt-9/all-k5-0003/2')
  _unfold(page)
  raw = run.raw('all-k5-0003', 2)
  expected = [getattr(raw, name) for name in ('round1', 'answer1', 'round2', 'answer2', 'grading')]
  assert page.locator('#detail pre').all_text_contents() == expected + [vote for vote in raw.votes if vote]


def test_the_theme_follows_the_system_and_the_switch(open_page):
  colour = lambda page: page.evaluate('getComputedStyle(document.body).backgroundColor')
  light, dark = open_page(color_scheme='light'), open_page(color_scheme='dark')
  assert colour(light) != colour(dark)
  expected = colour(dark)
  light.click('#theme')
  assert light.text_content('#theme') == 'Theme: light'
  light.click('#theme')
  assert light.text_content('#theme') == 'Theme: dark'
  assert colour(light) == expected
  light.reload()
  assert colour(light) == expected
  light.click('#theme')
  assert light.text_content('#theme') == 'Theme: system'
  assert colour(light) != expected


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 400])
def test_axe_finds_nothing_serious(open_page, scheme, width):
  page = open_page(color_scheme=scheme)
  page.set_viewport_size({'width': width, 'height': 900})
  page.evaluate('document.querySelectorAll("details").forEach((box) => { box.open = true; })')
  expect(page.locator('#detail pre:empty')).to_have_count(0)
  page.evaluate(AXE.read_text(encoding='utf-8'))
  found = page.evaluate('axe.run(document).then((results) => results.violations)')
  told = [
    (one['id'], one['impact'], one['nodes'][0]['target'], one['nodes'][0].get('failureSummary'))
    for one in found
    if one['impact'] in ('serious', 'critical')
  ]
  assert told == []
  assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')


def test_a_wide_page_has_figures_beside_tables_and_a_narrow_one_says_that_columns_scroll(open_page):
  page = open_page()
  place = lambda selector: page.locator(selector).first.bounding_box()
  figure, table = place('.figure-and-table figure'), place('.figure-and-table table')
  assert figure['x'] + figure['width'] < table['x'] and abs(figure['y'] - table['y']) < 60
  assert page.locator('#contrasts .scrolls').count() == 0
  page.set_viewport_size({'width': 400, 'height': 900})
  expect(page.locator('#contrasts > div > div > .scrolls')).to_have_count(3)  # one open table for each pair
  figure, table = place('.figure-and-table figure'), place('.figure-and-table table')
  assert figure['y'] + figure['height'] <= table['y']
  box = page.locator('#contrasts .scroll').first
  box.evaluate('(box) => { box.scrollLeft = 10000; }')
  expect(box).to_have_class(re.compile('ended'))
  at = lambda selector: box.locator(selector).first.bounding_box()
  name, what, last = at('th.name'), at('tbody th.what'), box.locator('tbody td').nth(4).bounding_box()
  assert name['x'] >= 0 and name['x'] + name['width'] <= what['x'] + 1, 'what a row is stays in sight'
  assert what['x'] + what['width'] < last['x'] + last['width'] <= 400


def test_it_prints_with_everything_unfolded(open_page):
  page = open_page()
  page.evaluate('dispatchEvent(new Event("beforeprint"))')
  assert page.locator('main > section:not(#samples) details:not([open])').count() == 0
  page.evaluate('dispatchEvent(new Event("afterprint"))')
  assert page.locator('main > section:not(#samples) details[open]').count() == 0
  assert len(page.pdf()) > 50_000
