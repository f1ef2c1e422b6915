"""Watches what comes back: where too many replies are of no use, asking ends while there is money left."""

from collections import Counter, deque
from pathlib import Path

from evals.marking import rubric
from evals.replies.budget import Halt
from evals.replies.ledger import Reply, Request

AFTER = 50  # replies before the first judgement
LAST = 200  # replies that a share is taken of
EXAMPLES = 3
REFUSED = ('content_filter', 'refusal')  # finish reasons
REMEDIES = {
  'unreadable': 'the grader does not keep to the table: another one, or another --config.grading_prompt',
  'cut': 'a higher cap, for models that think as well (max_tokens=4000), or none',
  'empty': 'a model that thinks may need a higher cap of tokens, or less of reasoning_effort',
  'refused': 'another model, or another catalog of skills and topics',
}


class Canary:
  """Counts replies to first attempts; what was unreadable once is asked again, and often is unreadable again."""

  def __init__(self, limit: float, folder: Path):
    """`limit`: share of replies that may be of no use; `folder`: where they are, for the message."""
    self._limit, self._folder = limit, folder
    self._last: deque[str] = deque(maxlen=LAST)
    self._examples: dict[str, list[str]] = {}

  def look(self, request: Request, reply: Reply):
    """Counts a reply that is stored."""
    if request.slot.attempt:
      return
    kind, why = judge(request, reply)
    self._last.append(kind)
    if kind and len(examples := self._examples.setdefault(kind, [])) < EXAMPLES:
      text = ' '.join(reply.text.split())
      examples.append(f'{request.slot}: {kind}{why and f" ({why})"}: {text[:200]!r}')

  def check(self):
    """Raises Halt where too many are of no use."""
    kinds = Counter(kind for kind in self._last if kind)
    num, total = kinds.total(), len(self._last)
    if total < AFTER or num <= self._limit * total:
      return
    counts = ', '.join(f'{number} {kind}' for kind, number in kinds.most_common())
    worst = kinds.most_common(1)[0][0]
    examples = [text for kind, _ in kinds.most_common() for text in self._examples.get(kind, ())][:EXAMPLES]
    raise Halt(
      '\n  '.join((f'{num} of the last {total} replies are of no use ({counts}), so no more are asked for:', *examples))
      + f'\nAll are in {self._folder}. What may help: {REMEDIES[worst]}. --canary=1 goes on whatever comes.'
    )


def judge(request: Request, reply: Reply) -> tuple[str, str]:
  """Returns (a key of REMEDIES or '', why)."""
  if reply.finish_reason in REFUSED:
    return 'refused', ''
  why = ''
  if 'criteria' in request.context:
    try:
      rubric.parse(reply.text, request.context['criteria'])
      return '', ''
    except rubric.RubricError as error:
      why = str(error)
  if reply.finish_reason == 'length':
    return 'cut', why
  if not reply.text.strip():
    return 'empty', ''
  return ('unreadable', why) if why else ('', '')
