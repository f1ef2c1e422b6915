import copy
import random
from collections import Counter

import numpy as np
import pytest
from helpers.data_fixtures import bpe_folder, two_rounds, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

from skillmix_jax.data.checks import run_checks
from skillmix_jax.data.mixture import Mixture, _batch, _Order, held_out, iterate
from skillmix_jax.data.records import Dialog, open_data
from skillmix_jax.errors import InputError
from skillmix_jax.prepare import prepare

LENGTH = 224


def _make(folder, num_dialogs=50, held_out_share=0.1, salt='', **sources):
  rng = random.Random(7)
  dialogs = write_jsonl(folder / 'dialogs.jsonl', [two_rounds(rng, i, words=8) for i in range(num_dialogs)])
  texts = [{'text': f'{salt}document {i} ' + 'moon ' * (i % 90)} for i in range(120)]
  text = write_jsonl(folder / 'text.jsonl', texts)
  sources = sources or {'dialogs': [str(dialogs)], 'text': [str(text)]}
  tokenizer_path = bpe_folder(folder / 'tokenizer')
  prepare(
    out=folder / 'data',
    tokenizer_path=tokenizer_path,
    template='mistral',
    length=LENGTH,
    held_out=held_out_share,
    **sources,
  )
  return open_data(folder / 'data')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return _make(tmp_path_factory.mktemp('mixture'))


def _same(left, right):
  return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def test_a_batch_depends_on_seed_data_and_step_alone(data, tmp_path):
  make = lambda seed=3: Mixture(open_data(data.path), seed=seed, dialogs=4, text_rows=2)
  first, second = make(), make()
  steps = [5, 0, 117, 5, 2]
  assert all(_same(first[g], second[g]) for g in sorted(steps))
  backwards = {g: first[g] for g in steps}
  assert all(_same(backwards[g], second[g]) for g in steps)
  assert not _same(first[5], first[6])
  assert not _same(first[5], make(seed=4)[5])
  other = Mixture(_make(tmp_path, salt='x'), seed=3, dialogs=4, text_rows=2)  # one letter more in the text
  assert other.indices(5)[0].tolist() != first.indices(5)[0].tolist()


def test_the_order_is_the_one_that_earlier_runs_had():
  # A change here makes every run in progress see other data after it resumes.
  order = _Order(10, '0/abc/dialogs')
  assert order.stretch(8, 23).tolist() == [5, 7, 8, 2, 9, 5, 7, 0, 1, 3, 6, 4, 4, 8, 6]


@pytest.mark.parametrize(('start', 'stop'), [(0, 12), (7, 12)])
def test_background_batches_are_the_same_batches(data, start, stop):
  mixture = Mixture(data, seed=0, dialogs=4, text_rows=2)
  seen = list(iterate(mixture, start, stop))
  assert [g for g, _ in seen] == list(range(start, stop))
  assert all(_same(batch, mixture[g]) for g, batch in seen)


def test_each_epoch_has_every_record_once_in_another_order(data):
  mixture = Mixture(data, seed=0, dialogs=7, text_rows=3)
  steps = range(40)
  for number, total in ((0, len(data.dialogs('train'))), (1, len(data.text('train')))):
    stream = np.concatenate([mixture.indices(g)[number] for g in steps])
    epochs = [stream[i : i + total].tolist() for i in range(0, len(stream) - total + 1, total)]
    assert len(epochs) >= 2
    assert all(sorted(epoch) == list(range(total)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


@settings(max_examples=25, deadline=None)
@given(dialogs=st.integers(0, 60), text_rows=st.integers(0, 5), g=st.integers(0, 1000), packed_in=st.integers(0, 3))
def test_every_batch_has_the_asked_for_records_and_all_their_weights(data, dialogs, text_rows, g, packed_in):
  # packed_in: rows of so many times the length; 0: each has a row of its own
  steps, packing = 20, packed_in > 0
  g %= steps
  data = _with_rows_of(data, max(1, packed_in))
  mixture = Mixture(data, seed=1, dialogs=dialogs, text_rows=text_rows, packing=packing, steps=steps)
  batch = mixture[g]
  dialog_indices, text_indices = mixture.indices(g)
  records = data.dialogs('train').read(dialog_indices)
  is_text = batch['is_text']
  assert batch['tokens'].shape == (mixture.num_rows, LENGTH * max(1, packed_in))
  assert len(records) == dialogs and is_text.sum() == -(-text_rows // max(1, packed_in))
  segments = _segments(batch, ~is_text)
  expected = [(dialog.tokens.tolist(), dialog.mask.tolist()) for dialog in records]
  assert sorted(segments) == sorted(expected)  # ids and trained tokens of every dialog, none twice, none lost
  assert batch['weights'][~is_text].sum() == sum(dialog.mask.sum() for dialog in records)
  text = data.text('train').read(text_indices)
  expected = [(tokens.tolist(), [False, *(tokens[1:] != data.bos_id).tolist()]) for tokens in text]
  assert _segments(batch, is_text) == expected  # of every row, in their order
  assert np.all(batch['weights'][:, -1] == 0)
  if len(batch['tokens']):
    assert not any(check.bad_rows for check in run_checks(batch, data, dialog_indices, text_rows))


def _with_rows_of(data, times):
  """The same data, as prepare with --row_length of so many times the length makes it."""
  longer = copy.copy(data)
  longer.row_length = times * data.length
  return longer


def _segments(batch, rows):
  """(tokens, trained) of each segment, trained read back from weights and targets."""
  found = []
  names = ('tokens', 'targets', 'weights', 'positions', 'segments')
  for tokens, targets, weights, positions, segments in zip(*(batch[name][rows] for name in names), strict=True):
    assert np.array_equal(targets, np.append(tokens[1:], 0))
    assert not weights[segments == 0].any() and not tokens[segments == 0].any()
    for number in range(1, segments.max(initial=0) + 1):
      (where,) = np.nonzero(segments == number)
      assert np.array_equal(where, np.arange(where[0], where[-1] + 1))
      assert np.array_equal(positions[where], np.arange(len(where)))
      assert weights[where[-1]] == 0  # the next token is another dialog's
      trained = [False, *(weights[where[:-1]] > 0).tolist()]
      found.append((tokens[where].tolist(), trained))
  return found


@pytest.mark.parametrize('times', [1, 2])
def test_packing_needs_fewer_rows_and_the_same_number_in_every_step(data, times):
  steps = 30
  data = _with_rows_of(data, times)
  mixture = Mixture(data, seed=0, dialogs=20, text_rows=2, packing=True, steps=steps)
  plain = Mixture(data, seed=0, dialogs=20, text_rows=2)
  assert 2 < mixture.rows_needed < plain.rows_needed == 22
  used = [int((mixture[g]['segments'].max(axis=1) > 0).sum()) for g in range(steps)]
  assert max(used) == mixture.rows_needed
  assert {mixture[g]['tokens'].shape for g in range(steps)} == {(mixture.rows_needed, times * LENGTH)}
  assert all(np.array_equal(mixture.indices(g)[0], plain.indices(g)[0]) for g in range(steps))


def test_padding_rows_are_empty(data):
  mixture = Mixture(data, seed=0, dialogs=4, text_rows=2)
  padded = mixture.with_rows(8)
  batch, same = padded[3], Mixture(data, seed=0, dialogs=4, text_rows=2, num_rows=8)[3]
  assert _same(batch, same)
  assert batch['is_text'].tolist() == [False] * 4 + [True] * 2 + [False] * 2
  for name, array in mixture[3].items():
    assert np.array_equal(batch[name][:6], array)
    assert not batch[name][6:].any()
  with pytest.raises(ValueError, match='needs 6 rows'):
    mixture.with_rows(5)


def test_types_of_a_batch(data):
  batch = Mixture(data, seed=0, dialogs=2, text_rows=1)[0]
  types = {name: (array.dtype.name, array.shape) for name, array in batch.items()}
  whole = (3, LENGTH)
  assert types == {
    'tokens': ('int32', whole),
    'targets': ('int32', whole),
    'weights': ('float32', whole),
    'positions': ('int32', whole),
    'segments': ('int32', whole),
    'is_text': ('bool', (3,)),
  }


def test_held_out_rows_of_earlier_runs_are_the_first_and_none_is_trained(data):
  dialogs = held_out(data, 'dialogs', 3, chosen='first')
  assert _segments(dialogs, slice(None)) == [
    (dialog.tokens.tolist(), dialog.mask.tolist()) for dialog in data.dialogs('held_out').read(range(3))
  ]
  text = held_out(data, 'text', 2, chosen='first')
  assert np.array_equal(text['tokens'], data.text('held_out').read(range(2))) and text['is_text'].all()
  trained = {dialog.id for dialog in data.dialogs('train')}
  assert not trained & {dialog.id for dialog in data.dialogs('held_out')}
  all_and_more = held_out(data, 'text', len(data.text('held_out', 'text')) + 5)
  assert all_and_more['segments'].max(axis=1).tolist()[-6:] == [1, 0, 0, 0, 0, 0]


def test_held_out_rows_are_spread_over_files_and_k(tmp_path):
  rng = random.Random(3)
  files = [
    write_jsonl(tmp_path / f'k{k}.jsonl', [two_rounds(rng, 1000 * k + i, k=k, words=8) for i in range(40 * k)])
    for k in (1, 2, 3)
  ]
  prepare(
    out=tmp_path / 'data', tokenizer_path=bpe_folder(tmp_path / 'tokenizer'), template='mistral', length=LENGTH,
    dialogs=list(map(str, files)), held_out=0.5,
  )  # fmt: skip
  data = open_data(tmp_path / 'data')
  held = data.dialogs('held_out')
  all_rows = {tuple(dialog.tokens.tolist()): int(dialog.id.split('-')[1]) // 1000 for dialog in held}
  rows = 24
  of_k = Counter(all_rows[tuple(tokens)] for tokens, _ in _segments(held_out(data, 'dialogs', rows), slice(None)))
  share = Counter(all_rows.values())
  assert sum(of_k.values()) == rows  # none twice
  assert all(abs(of_k[k] - rows * share[k] / len(held)) <= 1 for k in (1, 2, 3))
  assert _same(held_out(data, 'dialogs', rows), held_out(open_data(data.path), 'dialogs', rows))
  everything = held_out(data, 'dialogs', len(held))
  assert _same(everything, held_out(data, 'dialogs', len(held), chosen='first'))


def test_data_without_dialogs_or_text_says_what_to_change(data, tmp_path):
  text_only = _make(tmp_path, text=[str(data.path.parent / 'text.jsonl')])
  assert text_only.sources('train') == ('text',)
  assert Mixture(text_only, seed=0, dialogs=0, text_rows=2)[0]['is_text'].all()
  with pytest.raises(InputError, match=r'--dialogs, or set data\.dialogs=0'):
    Mixture(text_only, seed=0, dialogs=1, text_rows=0)
  (tmp_path / 'b').mkdir()
  dialogs_only = _make(tmp_path / 'b', dialogs=[str(data.path.parent / 'dialogs.jsonl')])
  with pytest.raises(InputError, match=r'--text, or set data\.text_rows=0'):
    Mixture(dialogs_only, seed=0, dialogs=1, text_rows=1)


def test_the_first_token_of_a_segment_is_never_a_target():
  everything = lambda n: Dialog(np.arange(1, n + 1, dtype=np.int32), np.ones(n, bool), 'x')
  batch = _batch([[everything(3), everything(2)]], np.zeros((0, 8), np.int32), num_rows=1, length=8, bos_id=1)
  assert batch['segments'].tolist() == [[1, 1, 1, 2, 2, 0, 0, 0]]
  assert batch['weights'].tolist() == [[1, 1, 0, 1, 0, 0, 0, 0]]
