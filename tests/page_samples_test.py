"""The samples in the page: whole or counted, as text, and no more than there is room for."""

import dataclasses
import json
import re

from helpers import page_fixtures as fixtures

from evals import page
from evals.page import browser


def _samples(text):
  return json.loads(re.search(r'id="samples-data">(.*?)</script>', text, re.DOTALL)[1])


def _rebuild(data, sample, parts):
  names = [data['skills'][i] for i in sample[5]]
  rubric = ', '.join('Correctly illustrates ' + name.strip().lower() for name in names)
  known = {-1: sample[7], -2: ', '.join(names), -3: data['topics'][sample[6]], -4: rubric}
  resolve = lambda part: part if isinstance(part, str) else known[part] if part < 0 else data['strings'][part]
  return ''.join(resolve(part) for part in parts if not isinstance(part, list))


def test_prompts_and_replies_are_put_together_again_byte_for_byte(runs, text):
  data = _samples(text)
  assert len(data['samples']) == data['total'] == sum(len(run.texts) for run in runs)
  whole = 0
  for sample in data['samples']:
    raw = runs[sample[0]].raw(sample[1], sample[2])
    detail = data['details'][sample[-1]]
    for name in ('round1', 'round2', 'answer1', 'answer2', 'grading'):
      assert _rebuild(data, sample, detail[name]) == getattr(raw, name)[: browser.RAW_LIMIT]
      whole += not isinstance(detail[name][-1], list)
    assert [vote and _rebuild(data, sample, vote) for vote in detail['votes']] == [vote or 0 for vote in raw.votes]
  assert whole > 1000


def test_what_was_cut_is_counted(runs, text):
  data = _samples(text)
  sample = next(s for s in data['samples'] if s[7].startswith('AAAA'))
  assert len(sample[7]) == data['limit'] and sample[8] == 1_000_000 - data['limit']
  answer2 = data['details'][sample[-1]]['answer2']
  assert answer2[-1] == [len(runs[0].raw(sample[1], sample[2]).answer2) - browser.RAW_LIMIT]


def test_no_text_leaves_the_json(text):
  assert text.count('<script') == text.count('</script>') == 3
  assert '<img' not in text and 'onerror' not in text.split('id="samples-data"')[0]
  assert 'Ours &lt;b&gt;&amp;&lt;/b&gt; theirs' in text
  assert not re.search('[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ud800-\udfff\ufeff]', text)
  text.encode('utf-8')  # no lone surrogate


def test_every_hostile_text_comes_back_as_it_was(text):
  found = {sample[7] for sample in _samples(text)['samples']}
  for hostile in fixtures.HOSTILE:
    assert hostile[: browser.TEXT_LIMITS[0]] in found


def test_hostile_names_and_graders_are_escaped(runs, results):
  evil = '<img src=x onerror=alert(1)>\u202e'
  change = lambda cell: dataclasses.replace(cell, setting=evil) if cell.setting == 'all' else cell
  cells = tuple(map(change, runs[0].metrics.cells))
  run = fixtures.with_metrics(runs[0], grader=evil, student=evil, cells=cells, catalog=evil)
  named = dict(topic=evil, combination=evil, reasons=(evil,), setting=evil)
  texts = [dataclasses.replace(text, skills=(evil,) * text.k, **named) for text in run.texts[:20]]
  raw = lambda combination, generation: dataclasses.replace(run.raw(run.texts[0].combination, 1), answer1=evil)
  odd = dataclasses.replace(run, name=evil, texts=texts, row=evil, family=evil, raw=raw, contrasts=())
  shown = page.render([odd], results, title=evil)
  assert '<img' not in shown and '\u202e' not in shown


def test_above_many_samples_all_disagreements_and_a_seeded_part_are_kept(monkeypatch, runs):
  monkeypatch.setattr(browser, 'MANY', 100)
  monkeypatch.setattr(browser, 'RANDOM_PART', 20)
  everything = [browser.Sample(i, text) for i, run in enumerate(runs) for text in run.texts]
  chosen = browser.choose(everything, seed=0)
  differing = [sample for sample in everything if sample.disagrees]
  assert [sample for sample in chosen if sample.disagrees] == differing
  assert len(chosen) == len(differing) + 20
  assert chosen == browser.choose(everything, seed=0) != browser.choose(everything, seed=1)


def test_raw_replies_fill_what_room_is_left(monkeypatch, runs):
  monkeypatch.setattr(browser, 'PAGE_BYTES', 900_000)
  monkeypatch.setattr(browser, 'MIN_RAW_BYTES', 50_000)
  content = browser.embed(runs, used_bytes=100_000)
  data = json.loads(content)
  assert len(content.encode()) < 800_000
  assert 20 < len(data['details']) < len(data['samples'])
  cells = {(s[0], s[3], s[4]) for s in data['samples'] if s[-1] >= 0}
  assert len(cells) == min(45, len(data['details']))  # spread over runs, settings and ks
