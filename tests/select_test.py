"""Which dialogs evals.select draws."""

import random
from collections import Counter

import pytest

from evals import select
from skillmix_jax.errors import InputError


def dialogs(*sizes):
  """D(1), D(2), ... of these sizes."""
  return [{'id': f'{k}-{i}', 'meta': {'k': k}} for k, size in enumerate(sizes, 1) for i in range(size)]


def by_k(drawn):
  return Counter(dialog['meta']['k'] for dialog in drawn)


def test_a_part_of_d123_has_fewer_composed_dialogs_than_d2():
  # the paper's sizes (C.1): a plain draw of 8,000 is one already (D.2)
  plain = dialogs(4077, 6277, 3603)
  drawn = select.choose(plain, 8000, 0)
  assert drawn == [plain[index] for index in sorted(random.Random(0).sample(range(len(plain)), 8000))]
  assert by_k(drawn)[2] + by_k(drawn)[3] == pytest.approx(8000 * 9880 / 13957, rel=0.02)  # 5,663 of 6,277
  # other yields: a plain draw would have about 6,000 of 5,000
  few = dialogs(4500, 5000, 9000)
  drawn = select.choose(few, 8000, 0)
  counts = by_k(drawn)
  assert len(drawn) == 8000 and counts[2] + counts[3] == 4999 and counts[1] == 3001
  names = {dialog['id'] for dialog in drawn}
  assert [dialog for dialog in few if dialog['id'] in names] == drawn, 'the order changed, or one came twice'
  # which of k = 2 and 3 stay is chance: 5,000 of 14,000 have k = 2
  assert counts[2] == pytest.approx(4999 * 5000 / 14000, rel=0.1)
  assert drawn == select.choose(few, 8000, 0) != select.choose(few, 8000, 1)


def test_a_part_that_cannot_be_is_refused_with_the_largest_that_can():
  few = dialogs(500, 3000, 5000)
  with pytest.raises(InputError, match='--max=3499'):
    select.choose(few, 8000, 0)
  assert by_k(select.choose(few, 3499, 0))[1] == 500
  assert select.choose(few, 8500, 0) == few, 'nothing is drawn'


@pytest.mark.parametrize('sizes', [(10, 0, 50), (0, 10, 50), (0, 0, 0, 50), (5, 5, 40, 40)])
def test_other_sets_of_ks_are_drawn_as_they_are(sizes):
  every = dialogs(*sizes)
  drawn = select.choose(every, 30, 0)
  assert drawn == [every[index] for index in sorted(random.Random(0).sample(range(len(every)), 30))]
