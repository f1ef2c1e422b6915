"""Runs that nobody sampled, with counts, lengths and agreement like real ones: for tests of the page."""

import dataclasses
import functools
import html
import json
import random
import re

from evals import page
from evals.marking import marks, rubric
from evals.page.view import Exchange, RunView
from evals.questions import catalog, combinations, prompts
from evals.results import cells, improving, people, statistics, trust
from evals.results.comparable import Conditions
from evals.results.contrasts import Contrast
from evals.results.graded import GradedDecoy, GradedRun, GradedText
from evals.results.summary import RunMetrics, Seen, Spent

GRADER = 'gpt-9.1-mini-2026-08-12'
BASE = 'LLaMA-2-13B-Chat'
SETTINGS = ('train', 'held_out', 'all')
KS = (1, 2, 3, 4, 5)
# row -> probability that a skill is shown, at k = 1 and at k = 5
STUDENTS = {'LLaMA-2-13B-Chat': (0.45, 0.15), 'D(1)': (0.75, 0.25), 'D(1,2,3)': (0.85, 0.6)}
HOSTILE = (
  '<script>window.hacked = 1</script> and </script><script>window.hacked = 2</script>',
  '<img src=x onerror="window.hacked = 3"> <svg onload=window.hacked=4> <!-- <script> &lt;b&gt; &amp; --> ]]>',
  '{{ 7 * 7 }} {% raw %} ${window.hacked = 5} {{ config }} `x` \\u003c \\',
  'control \x00\x07\x1b[31m\x7f\x9b and return\rover \x0b\x0c \ud800 \ufffe \U000e0041',
  'right-to-left \u202egnp.exe\u202c \u2066isolate\u2069 \u200bzero\u200d\ufeff \u2028line\u2029 שלום مرحبا',
  'A' * 1_000_000,
  'line\n' * 3_000,
  '=1+1 "quoted, text"\n+2',
)
_STORY = """the captain of a small boat swore that every storm had a memory and asked his crew to forgive it before
the mast did because a promise made on water weighs less than bread yet no sailor had ever dropped one and the gulls who
know all of this laughed like aunts at a wedding while morning came in sideways without an invitation or a coat"""
_WORDS = _STORY.split()


@functools.cache
def paper():
  """The paper's catalog."""
  return catalog.load(None)


def results():
  """results.json of the paper's catalog."""
  return json.loads((catalog.PAPER / 'results.json').read_text())


def _sentence(chance, num_words):
  words = [chance.choice(_WORDS) for _ in range(num_words)]
  return ' '.join(words).capitalize() + '.'


def _grade(chance, combination, generation, strength, hostile, grader):
  k = combination.k
  text = hostile or ' '.join(_sentence(chance, chance.randint(14, 26)) for _ in range(prompts.num_sentences(k)))
  if not hostile and chance.random() < 0.04:
    text += f' It was a {combination.skills[0].split("(")[0].strip()}, he said.'
  truth = [chance.random() < strength for _ in range(k)] + [chance.random() < p for p in (0.97, 0.95, 0.93)]
  votes = [[int(t if chance.random() < 0.96 else not t) for t in truth] for _ in range(3)]
  if chance.random() < 0.004:
    votes[1] = None
  named = marks.named_skills(text, combination.skills)
  found, limit = marks.count_sentences(text[:10_000]), prompts.num_sentences(k)
  adjusted = [marks.adjust(v, k, num_sentences_found=found, limit=limit, named=named) for v in votes if v]
  points = marks.majority(adjusted, 3)
  decoy = None
  if generation == 1 and chance.random() < 0.1:
    others = [skill.name for skill in paper().skills if skill.name not in combination.skills]
    decoy = GradedDecoy(position=0, skill=chance.choice(others), point=int(chance.random() < 0.05))
  return GradedText(
    combination=combination.id, setting=combination.setting, k=k, skills=tuple(combination.skills),
    topic=combination.topic, generation=generation, grader=grader, text=text,
    answer1=text[:200], answer2=text, votes=tuple(tuple(v) if v else None for v in votes),
    reasons=tuple('' if v else 'no table' for v in votes), num_sentences=found, named=named, points=points,
    marks=marks.marks(points, k) if points else None, decoy=decoy,
  )  # fmt: skip


def _raw(combination, graded):
  """As long as real replies: 270 tokens for an answer, 350 for a vote."""
  chance = random.Random(f'{combination.id}/{graded.generation}')
  explain = lambda num: '\n'.join(f'- {name}: {_sentence(chance, num)}' for name in combination.skills)
  text, criteria = graded.text, prompts.rubric(paper(), combination)
  votes = [
    rubric.format_table(criteria, vote, _sentence(chance, 60) + '\n' + explain(25)) if vote else None
    for vote in graded.votes
  ]
  return Exchange(
    round1=prompts.round1(paper(), combination), round2=prompts.round2(paper(), combination),
    answer1=f'Answer: {_sentence(chance, 40)}\n\nExplanation:\n{explain(30)}',
    answer2=f'Answer: {text}\n\nExplanation:\n{explain(22)}',
    grading=prompts.grading(paper(), combination, text), votes=votes,
  )  # fmt: skip


def make_run(row, *, name=None, num=100, generations=3, settings=SETTINGS, ks=KS, hostile=(), grader=GRADER, seed=0):
  """A RunView of one student; `hostile` texts stand in the place of its first ones."""
  chance = random.Random(f'{row}/{grader}/{seed}')
  drawn = combinations.draw(paper(), settings=settings, ks=ks, num_combinations=num, seed=0)
  at_1, at_5 = STUDENTS[row]
  hostile, texts = iter(hostile), []
  for combination in drawn:
    strength = at_1 + (at_5 - at_1) * (combination.k - 1) / 4
    strength = max(0.02, strength ** (1 / (1 + 0.4 * (combination.setting == 'held_out'))))
    for generation in range(1, generations + 1):
      texts.append(_grade(chance, combination, generation, strength, next(hostile, None), grader))
  wanted = {(setting, k): num for setting in settings for k in ks}
  by_place = {(text.combination, text.generation): text for text in texts}
  by_id = {combination.id: combination for combination in drawn}
  seen = {frozenset(c.skills) for c in drawn if c.setting == 'train' and c.k <= 3 and int(c.id[-4:]) % 3}
  num = len(texts)
  metrics = RunMetrics(
    student=f'checkpoint:runs/{row}', student_fingerprint='b1946ac92492d234', student_params={}, grader=grader,
    grader_requested=grader.rsplit('-', 3)[0], catalog='paper', prompts_sha256='5891b5b522d5df086d0ff0b110',
    prompt='grade', seed=0, votes_mode='all', length='count', name_filter=True, exclude_skills=(),
    done=num, wanted=num, unparsed=sum(v is None for text in texts for v in text.votes),
    cells=tuple(cells.cells(texts, wanted, generations, 3)), by_generation=tuple(trust.by_generation(texts)),
    agreement=trust.agreement(texts, 3, paper()), decoys=trust.decoys(texts, paper()),
    seen=Seen(('D1.jsonl', 'D2.jsonl'), len(seen), tuple(cells.seen_cells(texts, seen, generations, 3))),
    spent=Spent(num * 5, num * 2700, num * 1500, num * 0.0121, '2026-11-18T09:12:44Z', '2026-11-20T17:40:02Z'),
  )  # fmt: skip
  return RunView(
    name=name or f'{row}-{grader[:5]}', metrics=metrics, texts=texts, row=row, model='LLaMA-2-13B-Chat',
    family='openai' if grader == GRADER else 'anthropic', raw=lambda c, g: _raw(by_id[c], by_place[c, g]),
  )  # fmt: skip


def add_contrasts(runs, metric_names=('ratio_of_full_marks', 'skills_fraction')):
  """What report.py does across runs, roughly: every later student minus every earlier one of the same grader."""
  out = []
  for i, a in enumerate(runs):
    for b in runs[:i]:
      if a.grader != b.grader:
        continue
      for metric in metric_names:
        for setting, k in a.cells:
          one, two = (run.cells[setting, k] for run in (a, b))
          mean_a, mean_b = (cell.best[metric].mean for cell in (one, two))
          spans = [statistics.wilson(mean, cell.n) for mean, cell in ((mean_a, one), (mean_b, two))]
          span = statistics.difference(mean_a, spans[0], mean_b, spans[1])
          verdict, reason = 'higher' if span.low > 0 else 'lower' if span.high < 0 else 'undecided', ''
          if setting == 'train' and k == 5 and metric == 'skills_fraction':
            verdict, reason = 'refused', '3 votes missing'
          p, p_holm = (0.0004, 0.004) if span.low > 0 else (0.21, 0.6)
          needed = statistics.pairs_needed(mean_a - mean_b, mean_a + mean_b, 0.01) if verdict == 'undecided' else None
          out.append(
            Contrast(
              a.name, b.name, setting, k, metric, one.n, mean_a, mean_b, mean_a - mean_b, span, p, a.grader, p_holm,
              verdict, reason, needed=needed,
            )
          )  # fmt: skip
  return [dataclasses.replace(runs[0], contrasts=out), *(dataclasses.replace(run, contrasts=()) for run in runs[1:])]


def with_metrics(run, **changed):
  """The run with other metrics."""
  return dataclasses.replace(run, metrics=dataclasses.replace(run.metrics, **changed))


def with_first_answers(run, row='LLaMA-2-13B-Chat', **arguments):
  """The run, whose first answers were those of another student."""
  first = make_run(row, seed=1, grader=run.grader, **arguments)
  generations = max(text.generation for text in run.texts)
  alike = Conditions(generations=generations)
  both = [GradedRun(one.name, one.texts, one.grader, None, alike) for one in (first, run)]
  wanted = {place: cell.wanted for place, cell in run.cells.items()}
  return with_metrics(run, improving=improving.compare(*both, wanted, num_votes=3))


def three_students(**arguments):
  """The untouched base model, D(1) and D(1,2,3), with contrasts."""
  return add_contrasts([make_run(row, **arguments) for row in STUDENTS])


def two_graders(**arguments):
  """Base and D(1,2,3), each under graders of two families."""
  rows = ('LLaMA-2-13B-Chat', 'D(1,2,3)')
  return add_contrasts([make_run(r, grader=g, **arguments) for g in (GRADER, 'claude-9-haiku') for r in rows])


def toy_world(**arguments):
  """Runs on a catalog that is not the paper's."""
  runs = three_students(**arguments)
  return [
    dataclasses.replace(with_metrics(run, catalog='minimix', grader='exact'), row=None, model=None) for run in runs
  ]


def with_cell(run, setting, k, **numbers):
  """The run with one cell changed."""
  change = lambda cell: dataclasses.replace(cell, **numbers) if (cell.setting, cell.k) == (setting, k) else cell
  return with_metrics(run, cells=tuple(map(change, run.metrics.cells)))


def audit():
  """Of people against a grader."""
  one = people.Kappa(90, 0.91, 0.72, statistics.Interval(0.6, 0.83))
  alike = people.Kappa(90, 0.91)
  criteria = {'skills': one, 'on_topic': alike, 'sense': people.Kappa(0), 'length': one}
  return people.Audit('runs/<a>', 'g', 30, ['ann'], list(criteria), [people.MarkerPair('ann', 'grader', criteria)])


@functools.cache
def small_runs():
  """Three students with hostile texts, few enough for a test."""
  return three_students(num=6, hostile=HOSTILE)


@functools.cache
def small_page():
  """Their page."""
  return page.render(small_runs(), results(), title='Ours <b>&</b> theirs', audits=[audit()])


def plain(text):
  """What a reader sees of HTML."""
  body = re.sub(r'<(style|script)\b.*?</\1>', '', text, flags=re.DOTALL)
  return ' '.join(html.unescape(re.sub(r'<[^>]+>', ' ', body)).split())
