from hypothesis import given
from hypothesis import strategies as st

from skillmix_jax.data.packing import best_fit_decreasing


@given(st.lists(st.integers(1, 100), max_size=60))
def test_every_sequence_is_packed_once_and_no_row_overflows(lengths):
  rows = best_fit_decreasing(lengths, 100)
  assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
  assert all(0 < sum(lengths[index] for index in row) <= 100 for row in rows)


@given(st.lists(st.integers(1, 100), max_size=60))
def test_at_most_one_row_is_not_half_full(lengths):
  # Two such rows would have shared one.
  rows = best_fit_decreasing(lengths, 100)
  assert sum(sum(lengths[index] for index in row) <= 50 for row in rows) <= 1


def test_a_sequence_goes_to_the_fullest_row_that_has_room():
  # 70 and 60 open rows with 30 and 40 free; 40 fits the second exactly, 30 the first.
  assert best_fit_decreasing([30, 60, 40, 70], 100) == [[3, 0], [1, 2]]
  assert best_fit_decreasing([], 100) == []
