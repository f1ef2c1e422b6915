"""What must hold in every batch. `view` runs these on the arrays that the model would see."""

from typing import NamedTuple

import numpy as np

from skillmix_jax.data.mixture import Batch
from skillmix_jax.data.records import Data
from skillmix_jax.data.tokenizer import NO_TOKEN


class Check(NamedTuple):
  name: str
  bad_rows: list[int]  # rows in which it does not hold; none: it holds

  def __str__(self) -> str:
    if not self.bad_rows:
      return self.name
    return f'{self.name} (rows {", ".join(map(str, self.bad_rows[:5]))}{", …" if len(self.bad_rows) > 5 else ""})'


def _rows(bad_RT: np.ndarray) -> list[int]:
  return np.flatnonzero(bad_RT.reshape(len(bad_RT), -1).any(axis=1)).tolist()


def trained_tokens(batch: Batch) -> np.ndarray:
  """Returns bool [R, T]: the token at this position is predicted, with weight, from the one in front of it."""
  trained_RT = np.zeros(batch['tokens'].shape, bool)
  trained_RT[:, 1:] = batch['weights'][:, :-1] > 0
  return trained_RT


def _starts(segments_RT: np.ndarray) -> np.ndarray:
  """Returns bool [R, T]: the first token of a segment."""
  starts_RT = segments_RT > 0
  starts_RT[:, 1:] &= segments_RT[:, 1:] != segments_RT[:, :-1]
  return starts_RT


def _expected_positions(segments_RT: np.ndarray) -> np.ndarray:
  steps_T = np.arange(segments_RT.shape[1])
  start_of_segment_RT = np.maximum.accumulate(np.where(_starts(segments_RT), steps_T, 0), axis=1)
  return np.where(segments_RT > 0, steps_T - start_of_segment_RT, 0)


def _ends_without_eos(batch: Batch, eos_id: int, length: int) -> np.ndarray:
  """Returns bool [R, T]: an answer stops here without its end token, in a dialog that is not cut at `length`."""
  tokens_RT, segments_RT = batch['tokens'], batch['segments']
  trained_RT = trained_tokens(batch)
  last_RT = trained_RT.copy()
  last_RT[:, :-1] &= ~(trained_RT[:, 1:] & (segments_RT[:, 1:] == segments_RT[:, :-1]))
  last_RT &= _expected_positions(segments_RT) < length - 1
  return last_RT & (tokens_RT != eos_id) & ~batch['is_text'][:, None]


def run_checks(batch: Batch, data: Data, dialog_indices: np.ndarray, text_rows: int) -> list[Check]:
  """Runs every check on one batch.

  Args:
    batch: arrays of data.mixture.
    data: where they come from.
    dialog_indices: records of the training dialogs that must be in it.
    text_rows: how many text rows must be in it.
  """
  tokens_RT, segments_RT, weights_RT = batch['tokens'], batch['segments'], batch['weights']
  is_text_R, starts_RT, trained_RT = batch['is_text'], _starts(segments_RT), trained_tokens(batch)
  every_row = list(range(len(tokens_RT)))

  shifted_RT = np.pad(tokens_RT[:, 1:], ((0, 0), (0, 1)))
  next_segment_RT = np.pad(segments_RT[:, 1:], ((0, 0), (0, 1)))
  bos_RT = tokens_RT == data.bos_id
  same_segment_RT = (segments_RT[:, 1:] == segments_RT[:, :-1]) & (segments_RT[:, 1:] > 0)
  double_bos_RT = bos_RT[:, 1:] & bos_RT[:, :-1] & same_segment_RT
  padding_in_between_RT = (segments_RT[:, :-1] == 0) & (segments_RT[:, 1:] > 0)

  masks = [dialog.mask for dialog in data.dialogs('train').read(dialog_indices)]
  dialog_weight = weights_RT[~is_text_R].sum()
  text_weight = ((segments_RT > 0) & ~starts_RT & ~bos_RT)[is_text_R].sum()
  num_dialogs, num_text = (int(starts_RT[rows].sum()) for rows in (~is_text_R, is_text_R))
  same_counts = num_dialogs == len(masks) and num_text == text_rows
  same_weights = dialog_weight == sum(mask.sum() for mask in masks) and weights_RT[is_text_R].sum() == text_weight

  ends_without_eos_RT = _ends_without_eos(batch, data.eos_id, data.length)
  no_bos = _rows(starts_RT & ~bos_RT & ~is_text_R[:, None])
  return [
    Check(f'{len(masks)} dialogs and {text_rows} text rows', [] if same_counts else every_row),
    Check('every target is the next token', _rows(batch['targets'] != shifted_RT)),
    Check('weights are 0 or 1', _rows((weights_RT != 0) & (weights_RT != 1))),
    Check('no weight on padding', _rows((weights_RT > 0) & (segments_RT == 0))),
    Check('no weight across the end of a segment', _rows((weights_RT > 0) & (next_segment_RT != segments_RT))),
    Check('as many trained tokens as in the records', [] if same_weights else every_row),
    Check('every answer that is not cut ends with a trained end token', _rows(ends_without_eos_RT)),
    Check('no BOS is trained', _rows(trained_RT & bos_RT)),
    *([Check('every dialog starts with BOS', no_bos)] if data.bos_id != NO_TOKEN else []),
    Check('no two BOS in a row', _rows(double_bos_RT)),
    Check('positions count from 0 in every segment', _rows(batch['positions'] != _expected_positions(segments_RT))),
    Check('padding is at the end of a row', _rows(padding_in_between_RT)),
    Check(f'ids are below {data.vocab_size}', _rows((tokens_RT < 0) | (tokens_RT >= data.vocab_size))),
  ]
