"""Somebody who runs batch files, well or badly: results late, split, repeated, in any order, or errors."""

import json
import random
from pathlib import Path

from helpers.fake_openai import SERVED, usage_of


def result(line: dict, reply, number: int = 0) -> dict:
  """A line of results as OpenAI and vLLM write it."""
  message = {'role': 'assistant', 'content': reply(line['body'])}
  body = {
    'id': f'chatcmpl-{line["custom_id"]}', 'object': 'chat.completion', 'created': 1_790_000_000, 'model': SERVED,
    'choices': [{'index': 0, 'message': message, 'finish_reason': 'stop'}],
    'usage': usage_of(line['body'], message['content']),
  }  # fmt: skip
  response = {'status_code': 200, 'request_id': f'req_{number}', 'body': body}
  return {'id': f'batch_req_{number}', 'custom_id': line['custom_id'], 'response': response, 'error': None}


def failure(line: dict, status: int | None, code: str) -> dict:
  """A line of an error file; status None: the batch ended before this request's turn."""
  error = {'code': code, 'message': code, 'type': code}
  response = None if status is None else {'status_code': status, 'request_id': 'r', 'body': {'error': error}}
  return {'id': 'x', 'custom_id': line['custom_id'], 'response': response, 'error': error if status is None else None}


def asked(folder: Path) -> list[dict]:
  """All request lines of a folder."""
  return [json.loads(line) for path in sorted(folder.glob('requests-*.jsonl')) for line in path.open()]


def put(folder: Path, name: str, rows: list[dict]):
  """A file of results."""
  (folder / f'{name}.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))


class Vendor:
  """Runs the files of a folder whenever told to; `paid` counts the whole completions by custom_id."""

  def __init__(self, folder: Path, reply, seed: int = 0):
    self.folder, self.reply, self.chance = folder, reply, random.Random(seed)
    self.paid: list[str] = []
    self.seen: set[str] = set()
    self.held: list[dict] = []  # results that are not handed over yet
    self.count = 0

  def run(self, errors: float = 0.0):
    """Answers what is new; a share of it ends in errors that pass."""
    for line in asked(self.folder) if self.folder.is_dir() else []:
      if line['custom_id'] in self.seen:
        continue
      self.seen.add(line['custom_id'])
      if self.chance.random() < errors:
        self.held.append(failure(line, *self.chance.choice([(429, 'rate'), (500, 'server'), (None, 'batch_expired')])))
      else:
        self.paid.append(line['custom_id'])
        self.held.append(result(line, self.reply))

  def hand_over(self, share: float = 1.0, twice: float = 0.0):
    """Puts some results into files, in any order; a share of them in two files."""
    self.chance.shuffle(self.held)
    now = self.held[: round(len(self.held) * share)]
    self.held = self.held[len(now) :]
    for rows in (now, [row for row in now if self.chance.random() < twice]):
      if rows:
        self.count += 1
        put(self.folder, self.chance.choice(['a', 'z', 'output']) + str(self.count), rows)
