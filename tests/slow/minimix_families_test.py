"""The toy world with decoders of other families, by a key of the config alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = 100


@pytest.fixture(scope='module')
def losses(tmp_path_factory):
  """A function that runs the loop with a model type: the losses of the base's training by step."""

  def run(model_type: str) -> dict[int, float]:
    out = tmp_path_factory.mktemp(model_type)
    env = os.environ | {
      'PYTHON': sys.executable, 'ECHO_FLAGS': '--least=0',
      'WORLD_FLAGS': '--base_dialogs=600 --base_texts=300 --share=0.1',
      'TRAIN_FLAGS': f'--config.model.model_type={model_type} --config.steps={STEPS} --config.log_every=10',
    }  # fmt: skip
    command = ['sh', 'examples/minimix.sh', str(out), '0', 'D1', '3', '1,2', "('train',)"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = map(json.loads, (out / 'runs/base/metrics.jsonl').open())
    return {row['step']: row['loss'] for row in rows if 'loss' in row}

  return run


def test_other_families_learn_the_toy_world_as_the_llama_does(losses):
  ours = losses('llama')
  for model_type in ('qwen3', 'olmo2'):
    theirs = losses(model_type)
    assert theirs[STEPS] < 0.6 * theirs[10]
    assert theirs[STEPS] < 1.25 * ours[STEPS]
