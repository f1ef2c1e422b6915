"""What requests will cost before they are made: tokens, dollars, time."""

import dataclasses
import functools
from collections.abc import Sequence

from evals.questions import prompts
from evals.replies import waves
from evals.replies.ledger import Request
from evals.replies.progress import Prices, dollars, money
from evals.replies.run import Run
from evals.replies.waves import Grader

CHARACTERS_A_TOKEN = 4.3  # of English prompts and answers

# Tokens of a reply, measured on texts of GPT-4 at k = 3; a reasoning model writes, and bills, more.
REPLY_TOKENS = {'answer1': 271, 'answer2': 202, 'vote': 350, 'decoy': 350, 'first_vote': 350}
# Of one request: our assumption.
SECONDS = {'answer1': 8.0, 'answer2': 6.0, 'vote': 10.0, 'decoy': 10.0, 'first_vote': 10.0}
TEXT_TOKENS = 60  # of what is graded, at k = 3


@dataclasses.dataclass(frozen=True)
class Estimate:
  """Requests, tokens in and out, and seconds with one request at a time."""

  requests: int = 0
  prompt_tokens: int = 0
  completion_tokens: int = 0
  seconds: float = 0.0

  def __add__(self, other: 'Estimate') -> 'Estimate':
    mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
    return Estimate(*(a + b for a, b in zip(mine, theirs)))

  def times(self, number: int) -> 'Estimate':
    """Estimates `number` times as many of the same requests."""
    return Estimate(*(number * value for value in dataclasses.astuple(self)))

  def cost(self, prices: Prices | None) -> float | None:
    """Returns dollars; None where the price is not known."""
    return dollars(prices, self.prompt_tokens, self.completion_tokens)

  def describe(self, prices: Prices | None, concurrency: int) -> str:
    """Describes the estimate in one line."""
    minutes = self.seconds / concurrency / 60
    return (
      f'{self.requests:,} requests, about {self.prompt_tokens:,} + {self.completion_tokens:,} tokens, '
      f'{money(self.cost(prices))}, {minutes:,.1f} min with {concurrency} at a time'
    )


def tokens(text: str) -> int:
  """Guesses the number of tokens of English text."""
  return _tokens(len(text))


def _tokens(num_characters: int) -> int:
  return round(num_characters / CHARACTERS_A_TOKEN)


def estimate(requests: Sequence[Request]) -> Estimate:
  """Estimates requests whose prompts are known; an answer that does not exist yet gets a usual length."""
  return Estimate(
    len(requests),
    sum(tokens(message['content']) for request in requests for message in request.messages),
    sum(REPLY_TOKENS[request.slot.step] for request in requests),
    sum(SECONDS[request.slot.step] for request in requests),
  )


def _stand_in(num_tokens: int) -> str:
  return 'x' * round(num_tokens * CHARACTERS_A_TOKEN)


def estimate_sampling(run: Run) -> Estimate:
  """Estimates what the student will still be asked; an answer 1 that does not exist yet gets a usual length."""
  if not len(run.ledger):
    return _sampling_anew(run)
  requests = []
  for combination in run.combinations:
    for generation in range(1, run.settings.generations + 1):
      first = waves.round1_request(run, combination, generation)
      reply = waves.student_reply(run, first)
      if reply is None:
        requests.append(first)
      answer1 = reply.reply.text if reply else _stand_in(REPLY_TOKENS['answer1'])
      second = waves.round2_request(run, first, answer1, combination)
      if waves.student_reply(run, second) is None:
        requests.append(second)
  return estimate(requests)


def _sampling_anew(run: Run) -> Estimate:
  """Estimates the same before the first reply, from the lengths of prompts; all generations are asked alike."""
  first = prompts.lengths(functools.partial(prompts.round1, run.catalog))
  second = prompts.lengths(functools.partial(prompts.round2, run.catalog))
  answer, steps = tokens(_stand_in(REPLY_TOKENS['answer1'])), ('answer1', 'answer2')
  # The second request carries the first prompt and its answer as well.
  read = sum(2 * _tokens(first(one)) + answer + _tokens(second(one)) for one in run.combinations)
  return _each(run, read, *steps).times(run.settings.generations)


def _each(run: Run, prompt_tokens: int, *steps: str) -> Estimate:
  """Estimates that these steps are asked once for each combination."""
  num = len(run.combinations)
  written, seconds = sum(REPLY_TOKENS[step] for step in steps), sum(SECONDS[step] for step in steps)
  return Estimate(num * len(steps), prompt_tokens, num * written, num * seconds)


def _votes_anew(run: Run, answer: int) -> Estimate:
  """Estimates all votes before the first reply, from the lengths of prompts; all generations are asked alike."""
  text, settings = _stand_in(TEXT_TOKENS), run.settings
  length = prompts.lengths(lambda one: prompts.grading(run.catalog, one, text, settings.grading_prompt))
  read = sum(_tokens(length(one)) for one in run.combinations)
  return _each(run, read, waves.VOTE_STEPS[answer]).times(settings.generations * settings.votes)


def estimate_grading(run: Run, grader: Grader | None, decoys: float, answer: int = 2) -> Estimate:
  """What a grader will still be asked (None: one that has not voted yet); a missing text has a usual length.

  In adaptive mode every vote is counted: about a quarter of them will not be needed.
  """
  grader, settings = grader or Grader('', {}), run.settings
  is_alike = not len(run.ledger) and settings.votes_mode == 'all'  # only decoys are not
  if is_alike and not decoys:
    return _votes_anew(run, answer)
  written = {(text.combination.id, text.generation): text for text in waves.texts(run, answer)}
  ready = [
    written.get((combination.id, generation))
    or waves.Text(combination, generation, '', '', '', '', _stand_in(TEXT_TOKENS), answer)
    for combination in run.combinations
    for generation in range(1, settings.generations + 1)
  ]
  if not is_alike:
    return estimate(waves.vote_requests(run, grader, ready, decoys, skip=()))
  return _votes_anew(run, answer) + estimate(waves.decoy_requests(run, grader, ready, decoys))
