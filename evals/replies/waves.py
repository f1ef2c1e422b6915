"""What is asked, wave by wave: answer 1, answer 2 (which needs answer 1), votes (which need what they grade).

Everything here follows from the run's settings and its ledger. A request that the ledger has a reply to is never made
again; which one that is follows from its slot, the model, its parameters and the messages.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from evals.marking import marks, rubric
from evals.marking.marks import majority
from evals.questions import prompts
from evals.questions.combinations import Combination
from evals.replies.ledger import Request, Row, Slot, key
from evals.replies.run import Run

THREE_VOTES = 0.1  # of the texts get every vote in adaptive mode, so that agreement can be told

VOTE_STEPS = {1: 'first_vote', 2: 'vote'}  # answer that is graded -> the step of its votes

Points = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Text:
  """A text that is graded, with everything said on the way.

  Attributes:
    text: taken out of answer 2; or out of answer 1, and then round2 and answer2 are ''.
    answer: 1 or 2, the answer that `text` is taken from.
  """

  combination: Combination
  generation: int
  round1: str
  answer1: str
  round2: str
  answer2: str
  text: str
  answer: int = 2


@dataclasses.dataclass(frozen=True)
class Grader:
  """Who votes, as the ledger knows it."""

  model: str
  params: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Vote:
  """One grading of one text.

  Attributes:
    points: k + 3 of them; None while it is open, and where no attempt could be read.
    reason: why it could not be read.
    pending: what has to be asked for it; None when it is settled.
    row: the reply that counts; None while it is open.
  """

  points: Points | None
  reason: str = ''
  pending: Request | None = None
  row: Row | None = None


def _user(text: str) -> dict[str, str]:
  return {'role': 'user', 'content': text}


def _assistant(text: str) -> dict[str, str]:
  return {'role': 'assistant', 'content': text}


def round1_request(run: Run, combination: Combination, generation: int) -> Request:
  """Makes the request with the first prompt."""
  return Request(Slot(combination.id, generation, 'answer1'), (_user(prompts.round1(run.catalog, combination)),), {})


def round2_request(run: Run, first: Request, answer1: str, combination: Combination) -> Request:
  """Makes the request with the second prompt, after the first answer."""
  messages = (*first.messages, _assistant(answer1), _user(prompts.round2(run.catalog, combination)))
  return Request(dataclasses.replace(first.slot, step='answer2'), messages, {})


def _reply(run: Run, request: Request, model: str, params: dict) -> Row | None:
  if not len(run.ledger):
    return None  # a key costs its hash
  return run.ledger.get(key(request.slot, model, params, request.messages))


def student_reply(run: Run, request: Request) -> Row | None:
  """Returns what the student said to a request; None where it has not been asked yet."""
  return _reply(run, request, run.student.model, run.student.params)


def _slots(run: Run) -> Iterator[tuple[Combination, int]]:
  for combination in run.combinations:
    for generation in range(1, run.settings.generations + 1):
      yield combination, generation


def answer_requests(run: Run) -> tuple[list[Request], list[Request]]:
  """Returns all requests of round 1, and those of round 2 whose first answer exists."""
  firsts, seconds = [], []
  for combination, generation in _slots(run):
    first = round1_request(run, combination, generation)
    firsts.append(first)
    if reply := student_reply(run, first):
      seconds.append(round2_request(run, first, reply.reply.text, combination))
  return firsts, seconds


def unanswered_seconds(run: Run) -> list[Request]:
  """Returns all requests of round 2 as if the first answers were empty: prompts are at least that long."""
  return [
    round2_request(run, round1_request(run, combination, generation), '', combination)
    for combination, generation in _slots(run)
  ]


def texts(run: Run, answer: int = 2) -> Iterator[Text]:
  """Yields every text whose two answers the ledger has; with `answer=1` every first answer that it has."""
  for combination, generation in _slots(run):
    if text := text_of(run, combination, generation, answer):
      yield text


def text_of(run: Run, combination: Combination, generation: int, answer: int = 2) -> Text | None:
  """Returns one text; None where the ledger does not have its answers."""
  first = round1_request(run, combination, generation)
  if (reply1 := student_reply(run, first)) is None:
    return None
  prompt1, answer1 = first.messages[0]['content'], reply1.reply.text
  if answer == 1:
    return Text(combination, generation, prompt1, answer1, '', '', prompts.extract_text(answer1), answer)
  second = round2_request(run, first, answer1, combination)
  if (reply2 := student_reply(run, second)) is None:
    return None
  answer2 = reply2.reply.text
  prompt2, text = second.messages[-1]['content'], prompts.extract_text(answer2)
  return Text(combination, generation, prompt1, answer1, prompt2, answer2, text)


def _chance(run: Run, combination: str, generation: int, what: str) -> float:
  """Returns a number in [0, 1) that depends on the seed and the text's slot alone."""
  name = f'{what}/{run.settings.seed}/{combination}/{generation}'
  return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) / 2**64


def _vote(run: Run, grader: Grader, slot: Slot, prompt: str, context: dict[str, Any]) -> Vote:
  """Returns the first attempt that the parser can read; what earlier commands asked beyond `run.attempts` counts."""
  reason, row, attempt = '', None, 0
  while True:
    request = Request(dataclasses.replace(slot, attempt=attempt), (_user(prompt),), context)
    found = _reply(run, request, grader.model, grader.params)
    if found is None:
      return Vote(None, reason, request) if attempt < run.attempts else Vote(None, reason, None, row)
    row = found
    points, reason = _grading(run, row, context['criteria'])
    if points is not None:
      return Vote(points, '', None, row)
    attempt += 1


def _grading(run: Run, row: Row, criteria: Sequence[str]) -> tuple[Points | None, str]:
  """See Run.gradings. A reply is parsed once: votes are looked at in every wave, and parsing takes most of the time."""
  if row not in run.gradings:
    try:
      run.gradings[row] = rubric.parse(row.reply.text, criteria), ''
    except rubric.RubricError as error:
      run.gradings[row] = None, str(error)
  return run.gradings[row]


def grading_prompt(run: Run, text: Text) -> str:
  """Writes what the grader is asked about a text."""
  return prompts.grading(run.catalog, text.combination, text.text, run.settings.grading_prompt)


@dataclasses.dataclass(frozen=True)
class Counted:
  """What our own counting says of a text.

  Attributes:
    num_sentences, named: see `marks`.
    earned: turns the points of a vote into those that count.
  """

  num_sentences: int
  named: tuple[bool, ...]
  earned: Callable[[Points], Points]


def counted(run: Run, text: Text) -> Counted:
  """Counts a text by the settings of its run."""
  combination, settings = text.combination, run.settings
  num_sentences = marks.count_sentences(text.text)
  named = marks.named_skills(text.text, combination.skills)
  earned = functools.partial(
    marks.adjust, k=combination.k, num_sentences_found=num_sentences, limit=prompts.limit(run.catalog, combination.k),
    named=named, length=settings.length, name_filter=settings.name_filter,
  )  # fmt: skip
  return Counted(num_sentences, named, earned)


def gets_every_vote(run: Run, combination: str, generation: int) -> bool:
  """Says whether all votes of a text are asked for whatever the first ones say: what agreement is told from."""
  return run.settings.votes_mode == 'all' or _chance(run, combination, generation, 'agreement') < THREE_VOTES


def votes(run: Run, grader: Grader, text: Text) -> list[Vote]:
  """Returns the votes that this text needs, settled or not; in adaptive mode as many as decide what counts."""
  combination, num_votes = text.combination, run.settings.votes
  prompt = grading_prompt(run, text)
  context = {
    'skills': combination.skills, 'topic': combination.topic, 'text': text.text,
    'criteria': prompts.rubric(run.catalog, combination),
  }  # fmt: skip
  adaptive = not gets_every_vote(run, combination.id, text.generation)
  found: list[Vote] = []
  for number in range(1, num_votes + 1):
    if adaptive and number > num_votes // 2 + 1:
      if any(vote.pending for vote in found):
        break  # whether it is needed shows when those before it are in
      earned = counted(run, text).earned
      if majority([earned(vote.points) for vote in found if vote.points], num_votes) is not None:
        break
    slot = Slot(combination.id, text.generation, VOTE_STEPS[text.answer], vote=number)
    found.append(_vote(run, grader, slot, prompt, context))
  return found


@dataclasses.dataclass(frozen=True)
class Decoy:
  """A grading in which one skill was swapped for one that was never asked for."""

  position: int
  skill: str
  vote: Vote


def decoy(run: Run, grader: Grader, text: Text) -> Decoy | None:
  """Returns the decoy grading of a text; None where the catalog has no skill to swap in.

  The swapped-in skill comes from the same split as the one that it replaces, is not named in the text, and does not
  occur in almost any text, as far as the run's catalog says which do (those of earlier versions do not).
  """
  combination = text.combination
  position = int(_chance(run, combination.id, text.generation, 'position') * combination.k)
  replaced = run.catalog.skill(combination.skills[position])
  lower = text.text.lower()
  candidates = [
    skill
    for skill in run.catalog.skills
    if skill.name not in combination.skills
    and skill.table == replaced.table
    and skill.name not in run.catalog.in_any_text
    and skill.name.split('(')[0].strip().lower() not in lower
  ]
  if not candidates:
    return None
  skill = candidates[int(_chance(run, combination.id, text.generation, 'decoy') * len(candidates))]
  swap = (position, skill)
  context = {
    'skills': (*combination.skills[:position], skill.name, *combination.skills[position + 1 :]),
    'topic': combination.topic, 'text': text.text, 'criteria': prompts.rubric(run.catalog, combination, swap),
  }  # fmt: skip
  prompt = prompts.grading(run.catalog, combination, text.text, run.settings.grading_prompt, swap)
  slot = Slot(combination.id, text.generation, 'decoy')
  return Decoy(position, skill.name, _vote(run, grader, slot, prompt, context))


def decoy_wanted(run: Run, text: Text, share: float) -> bool:
  """Says whether the text is in the `share` that is graded with a decoy; a larger share keeps those of a smaller."""
  return _chance(run, text.combination.id, text.generation, 'decoys') < share


def decoy_requests(run: Run, grader: Grader, ready: Sequence[Text], share: float) -> list[Request]:
  """Returns the decoy gradings that have to be asked for `share` of the texts."""
  wanted = [decoy(run, grader, text) for text in ready if share and decoy_wanted(run, text, share)]
  return [graded.vote.pending for graded in wanted if graded is not None and graded.vote.pending]


def vote_requests(
  run: Run, grader: Grader, ready: Sequence[Text], decoys: float, skip: Collection[Slot]
) -> list[Request]:
  """Returns what has to be asked next, without the slots in `skip`; empty when everything is settled."""
  open_votes = [vote.pending for text in ready for vote in votes(run, grader, text) if vote.pending]
  open_votes += decoy_requests(run, grader, ready, decoys)
  return [request for request in open_votes if request.slot not in skip]
