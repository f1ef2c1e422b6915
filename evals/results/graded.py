"""From replies to marks: one row for each text, rebuilt from the ledger whenever it is wanted."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from evals.marking import marks
from evals.questions import prompts
from evals.replies.run import Run
from evals.replies.waves import Decoy, Grader, Text, Vote, decoy, texts, votes
from skillmix_jax.errors import InputError


def find_grader(run: Run) -> Grader | None:
  """Whose votes the ledger holds; None where it has none.

  Raises:
    InputError: it holds votes of two graders.
  """
  found = {(row.model, json.dumps(row.params, sort_keys=True)) for row in run.ledger.rows() if row.slot.step == 'vote'}
  if len(found) > 1:
    names = ' and '.join(sorted(model for model, _ in found))
    raise InputError(f'{run.path} holds votes of two graders, {names}: move the votes of one to a copy of the folder')
  return next((Grader(model, json.loads(params)) for model, params in found), None)


def build(run: Run, grader: Grader | None) -> Iterator[dict[str, Any]]:
  """One row for each finished text; the format stands in docs/evals.md."""
  with_decoy = {(row.slot.combination, row.slot.generation) for row in run.ledger.rows() if row.slot.step == 'decoy'}
  for text in texts(run):
    found = votes(run, grader, text) if grader else []
    swapped = decoy(run, grader, text) if grader and (text.combination.id, text.generation) in with_decoy else None
    yield _grade(run, text, found, swapped)


def _grade(run: Run, text: Text, found: Sequence[Vote], swapped: Decoy | None) -> dict[str, Any]:
  combination, settings = text.combination, run.settings
  named = marks.named_skills(text.text, combination.skills)
  num_sentences = marks.count_sentences(text.text)
  limit = prompts.num_sentences(combination.k)
  adjust = lambda points: marks.adjust(
    points, combination.k, num_sentences_found=num_sentences, limit=limit, named=named, length=settings.length,
    name_filter=settings.name_filter,
  )  # fmt: skip
  given = [adjust(vote.points) for vote in found if vote.points]
  points = marks.majority(given, settings.votes) if given else None
  earned = marks.marks(points, combination.k) if points else None
  row = {
    'combination': combination.id, 'setting': combination.setting, 'k': combination.k,
    'skills': list(combination.skills), 'topic': combination.topic, 'generation': text.generation,
    'grader': ' and '.join(sorted({vote.row.reply.model for vote in found if vote.row})),
    'text': text.text, 'answer1': text.answer1, 'answer2': text.answer2,
    'votes': [list(vote.points) if vote.points else None for vote in found],
    'reasons': [vote.reason or ('not asked yet' if vote.pending else '') for vote in found],
    'num_sentences': num_sentences, 'named': list(named),
    'points': list(points) if points else None,
    'full_marks': earned.full_marks if earned else None,
    'all_skills': earned.all_skills if earned else None,
    'skills_fraction': earned.skills_fraction if earned else None,
  }  # fmt: skip
  if swapped is not None and swapped.vote.points:
    point = swapped.vote.points[swapped.position]
    row['decoy'] = {'position': swapped.position, 'skill': swapped.skill, 'point': point}
  return row
