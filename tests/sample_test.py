"""What a model was taught comes out of its workdir, and bad input is said before anything is compiled."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import transformers
from conftest import make_dialog, write_jsonl
from helpers.damage import truncate
from train_test import make_config, run

from skillmix_jax import batches, decode
from skillmix_jax.answering import Model
from skillmix_jax.convert import to_hf
from skillmix_jax.errors import InputError
from skillmix_jax.prepare import prepare
from skillmix_jax.sample import sample
from skillmix_jax.train import train

ROOT = Path(__file__).parent.parent
GREEDY = dict(temperature=0.0, top_p=1.0, max_new_tokens=16, seed=0)
DIALOGS = [make_dialog(i) for i in range(32)]
PROMPTS = [{'id': d['id'], 'messages': d['messages'][:3]} for d in DIALOGS]
EXPECTED = {d['id']: d['messages'][3]['content'] for d in DIALOGS}


@pytest.fixture(scope='module')
def taught(small_raw, tmp_path_factory) -> Path:
  """A workdir whose last step knows 32 dialogs by heart, with answers written along the way."""
  folder = tmp_path_factory.mktemp('taught')
  prepare(
    out=folder / 'data', tokenizer_path=small_raw / 'tokenizer', template='mistral', length=64,
    dialogs=[str(small_raw / 'dialogs.jsonl')], held_out=0.0,
  )  # fmt: skip
  prompts = str(write_jsonl(folder / 'prompts.jsonl', PROMPTS))
  for steps, sampling in ((20, {}), (260, {'sample_every': 130, 'sample_prompts': prompts})):
    run(
      folder / 'run', folder / 'data', steps=steps, data__text_rows=0, data__dialogs=32, checkpoint__every=1000,
      checkpoint__keep=2, mesh__fsdp=2 if steps == 20 else 1, optimizer__learning_rate=1e-2, **sampling,
    )  # fmt: skip
  return folder


def read(path: Path) -> dict[str, dict]:
  return {row['id']: row for row in map(json.loads, path.read_text().splitlines())}


def answers_of(rows: dict[str, dict]) -> dict[str, str]:
  return {name: row['answer'] for name, row in rows.items()}


def test_a_taught_model_repeats_its_answers(taught, tmp_path):
  model = Model(str(taught / 'run'), dtype='float32', batch_size=16)
  sample(model, taught / 'prompts.jsonl', tmp_path / 'a.jsonl', **GREEDY)
  rows = read(tmp_path / 'a.jsonl')
  assert answers_of(rows) == EXPECTED
  assert {row['finish_reason'] for row in rows.values()} == {'stop'}
  assert all(set(row) == {'id', 'answer', 'num_tokens', 'finish_reason'} for row in rows.values())
  assert read(taught / 'run' / 'samples' / '260.jsonl') == rows  # as the run itself wrote them
  first = [{'id': d['id'], 'messages': d['messages'][:1]} for d in DIALOGS]
  said = {row['id']: row['answer'] for row in model.sample_dialogs(first, **GREEDY)}
  assert said == {d['id']: d['messages'][1]['content'] for d in DIALOGS}


def test_a_chosen_step_answers_as_it_did_then(taught, tmp_path):
  prompts = taught / 'prompts.jsonl'
  sample(Model(f'{taught / "run"}@20', dtype='float32'), prompts, tmp_path / 'early.jsonl', **GREEDY)
  assert answers_of(read(tmp_path / 'early.jsonl')) != EXPECTED
  sample(Model(f'{taught / "run"}@260'), prompts, tmp_path / 'late.jsonl', **GREEDY)  # in bfloat16
  same = [answer == EXPECTED[name] for name, answer in answers_of(read(tmp_path / 'late.jsonl')).items()]
  assert sum(same) >= 30
  samples = taught / 'run' / 'samples'
  assert sorted(path.name for path in samples.iterdir()) == ['130.jsonl', '260.jsonl', 'settings.json']
  assert json.loads((samples / 'settings.json').read_text()) == {'batch_size': 32}


def test_its_export_repeats_them_in_transformers(taught, tmp_path):
  to_hf(str(taught / 'run'), tmp_path / 'export', dtype='float32', template=None)
  model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'export')
  encoder = transformers.AutoTokenizer.from_pretrained(tmp_path / 'export')
  for dialog in PROMPTS:
    ids = encoder.apply_chat_template(dialog['messages'], return_tensors='pt', return_dict=False)
    out = model.generate(ids, do_sample=False, max_new_tokens=16)
    assert encoder.decode(out[0, ids.shape[1] :], skip_special_tokens=True) == EXPECTED[dialog['id']]


def test_a_cut_answers_file_is_completed_with_the_same_answers(taught, tmp_path, capsys, monkeypatch):
  model = lambda: Model(str(taught / 'run'))  # in bfloat16, with as many prompts at a time as fit
  options = GREEDY | {'temperature': 1.5}
  path = tmp_path / 'deep' / 'a.jsonl'
  sample(model(), taught / 'prompts.jsonl', path, **options)
  whole = path.read_bytes()
  lines = whole.splitlines(keepends=True)
  path.write_bytes(b''.join(lines[:11]) + lines[11][:20])
  capsys.readouterr()
  monkeypatch.setattr(batches, 'CPU_ROWS', 8)  # less memory is free this time
  write_jsonl(tmp_path / 'shuffled.jsonl', PROMPTS[::-1])
  sample(model(), tmp_path / 'shuffled.jsonl', path, **options)
  assert read(path) == {row['id']: row for row in map(json.loads, lines)}
  assert path.read_bytes().startswith(b''.join(lines[:11]))
  said = capsys.readouterr().err
  assert '11 of 32 are answered' in said and '\n21 answers, ' in said and 'tokens/s' in said
  sample(model(), taught / 'prompts.jsonl', path, **options)
  assert path.read_bytes().count(b'\n') == 32


@pytest.fixture(scope='module')
def answered(taught, tmp_path_factory) -> Path:
  """Two of three prompts, answered."""
  folder = tmp_path_factory.mktemp('answered')
  write_jsonl(folder / 'p.jsonl', PROMPTS[:2])
  model = Model(f'{taught / "run"}@260', dtype='float32', batch_size=16)
  sample(model, folder / 'p.jsonl', folder / 'a.jsonl', **GREEDY)
  write_jsonl(folder / 'p.jsonl', PROMPTS[:3])
  return folder


EDITED = [PROMPTS[0] | {'messages': [{'role': 'user', 'content': 'moon'}]}, *PROMPTS[1:3]]
OTHER_COMMANDS = {
  'checkpoint': (dict(checkpoint='{}@20'), 'answers with --checkpoint=.*run@260, not .*run@20: give the same, or'),
  'seed': (dict(seed=1), 'answers with --seed=0, not --seed=1: give the same, or another --answers'),
  'two flags': (
    dict(temperature=0.7, max_new_tokens=8),
    '--temperature=0.0 --max_new_tokens=16, not --temperature=0.7 --max_new_tokens=8',
  ),
  'dtype': (dict(dtype='bfloat16'), '--dtype=float32, not --dtype=bfloat16'),
  'template': (dict(template='llama2'), '--template=mistral, not --template=llama2'),
  'batch size': (dict(batch_size=8), '--batch_size=16, not --batch_size=8'),
  'prompt': (dict(prompts=EDITED), "prompt 'd0' is another text than the one that .*a.jsonl answers"),
}


@pytest.mark.parametrize('name', OTHER_COMMANDS)
def test_an_answers_file_takes_no_answers_of_another_command(taught, answered, tmp_path, name):
  changes, said = OTHER_COMMANDS[name]
  changes = dict(changes)
  shutil.copytree(answered, tmp_path / 'copy')
  prompts, answers = tmp_path / 'copy' / 'p.jsonl', tmp_path / 'copy' / 'a.jsonl'
  before = answers.read_bytes()
  if 'prompts' in changes:
    write_jsonl(prompts, changes.pop('prompts'))
  made = {'dtype': 'float32'} | {k: changes.pop(k) for k in ('dtype', 'template', 'batch_size') if k in changes}
  checkpoint = changes.pop('checkpoint', '{}').format(taught / 'run')
  with pytest.raises(InputError, match=said):
    sample(Model(checkpoint, **made), prompts, answers, **GREEDY | changes)
  assert answers.read_bytes() == before


def test_the_same_command_adds_to_an_answers_file_wherever_the_checkpoint_is(taught, answered, tmp_path, capsys):
  shutil.copytree(answered, tmp_path / 'copy')
  shutil.copytree(taught / 'run', tmp_path / 'moved')
  answers = tmp_path / 'copy' / 'a.jsonl'
  sample(Model(str(tmp_path / 'moved'), dtype='float32'), tmp_path / 'copy' / 'p.jsonl', answers, **GREEDY)
  assert answers_of(read(answers)) == {d['id']: EXPECTED[d['id']] for d in PROMPTS[:3]}
  assert json.loads((tmp_path / 'copy' / 'a.jsonl.settings.json').read_text())['batch_size'] == 16
  # An answers file of an earlier version has no settings: it is taken as this command's, once.
  (tmp_path / 'copy' / 'a.jsonl.settings.json').unlink()
  answers.write_bytes(b''.join(answers.read_bytes().splitlines(keepends=True)[:2]))
  capsys.readouterr()
  sample(Model(str(taught / 'run'), dtype='float32'), tmp_path / 'copy' / 'p.jsonl', answers, **GREEDY)
  assert 'has 2 answers of an earlier version' in capsys.readouterr().err and len(read(answers)) == 3
  with pytest.raises(InputError, match='--seed=0, not --seed=1'):
    sample(Model(str(taught / 'run'), dtype='float32'), tmp_path / 'copy' / 'p.jsonl', answers, **GREEDY | {'seed': 1})
  (tmp_path / 'copy' / 'a.jsonl.settings.json').write_text('{"batch_size"')
  with pytest.raises(InputError, match=r'settings\.json is damaged'):
    sample(Model(str(taught / 'run'), dtype='float32'), tmp_path / 'copy' / 'p.jsonl', answers, **GREEDY)


def test_a_second_sample_into_the_same_file_is_refused(taught, answered):
  answers = answered / 'a.jsonl'
  code = (
    'import sys\nfrom pathlib import Path\nfrom skillmix_jax.lock import hold\n'
    'with hold(Path(sys.argv[1]), Path(sys.argv[2])):\n  print("held", flush=True)\n  sys.stdin.read()'
  )
  with subprocess.Popen(
    [sys.executable, '-c', code, answers, answered / '.a.jsonl.lock'], cwd=ROOT, stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  ) as holder:  # fmt: skip
    assert holder.stdout.readline() == b'held\n'
    with pytest.raises(InputError, match=rf'a\.jsonl is in use by process {holder.pid} on '):
      sample(Model(str(taught / 'run'), dtype='float32'), answered / 'p.jsonl', answers, **GREEDY)
    holder.kill()


def user(text: str) -> dict:
  return {'role': 'user', 'content': text}


BAD_PROMPTS = {
  'not JSON': ('{"id": "a", "messages"\n', 'p.jsonl:1: not JSON'),
  'empty': ('', 'p.jsonl is empty'),
  'no id': (json.dumps({'messages': [user('hi')]}) + '\n', "p.jsonl:1: 'id' must be a text"),
  'twice': ((json.dumps({'id': 'a', 'messages': [user('hi')]}) + '\n') * 2, "p.jsonl:2: id 'a' is already used at"),
  'prompt': (json.dumps({'id': 'a', 'prompt': 'hi'}) + '\n', "p.jsonl:1: no 'messages', only id, prompt; a prompt is"),
  'order': (json.dumps({'id': 'a', 'messages': [user('hi'), user('ho')]}) + '\n', "'assistant' is expected"),
  'too long': (json.dumps({'id': 'a', 'messages': [user('moon ' * 90)]}) + '\n', "prompt 'a' has "),
}


@pytest.mark.parametrize('name', BAD_PROMPTS)
def test_bad_prompts_are_named(taught, tmp_path, name):
  text, said = BAD_PROMPTS[name]
  (tmp_path / 'p.jsonl').write_text(text)
  with pytest.raises(InputError, match='(?s)' + said.replace('.', r'\.')):
    sample(Model(str(taught / 'run')), tmp_path / 'p.jsonl', tmp_path / 'a.jsonl', **GREEDY)
  assert not (tmp_path / 'a.jsonl').exists()


@pytest.mark.parametrize(
  ('checkpoint', 'options', 'said'),
  [
    ('/nowhere', {}, 'no checkpoint there'),
    ('{}@7', {}, 'no checkpoint of step 7'),
    ('{}', {'template': 'alpaca'}, "template='alpaca' is not one of"),
    ('{}', {'dtype': 'float16'}, "dtype='float16' is not one of"),
    ('{}', {'batch_size': 0}, 'batch_size=0'),
  ],
)
def test_bad_checkpoints_and_options_are_named(taught, checkpoint, options, said):
  with pytest.raises(InputError, match=said):
    Model(checkpoint.format(taught / 'run'), **options)


@pytest.mark.parametrize(('dtype', 'attention'), [('float32', 'xla'), ('bfloat16', 'cudnn')])
def test_on_gpus_float32_takes_xla_attention(taught, monkeypatch, dtype, attention):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  assert Model(str(taught / 'run'), dtype=dtype).config.attention == attention


def test_a_fingerprint_tells_weights_apart_and_survives_a_copy(taught, tmp_path):
  shutil.copytree(taught / 'run', tmp_path / 'copy')
  to_hf(str(taught / 'run'), tmp_path / 'export', dtype='float32', template=None)
  shutil.copytree(tmp_path / 'export', tmp_path / 'export2')
  of = lambda checkpoint: Model(str(checkpoint)).fingerprint
  late, early, export = of(taught / 'run'), of(f'{taught / "run"}@20'), of(tmp_path / 'export')
  assert re.fullmatch('[0-9a-f]{16}', late) and len({late, early, export}) == 3
  assert of(tmp_path / 'copy') == of(f'{taught / "run"}@260') == late
  assert of(tmp_path / 'export2') == export


def test_too_little_memory_is_one_line(taught, tmp_path, monkeypatch):
  def exhausted(*_):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 307199996928 bytes.')

  model, said = Model(str(taught / 'run'), batch_size=16), 'out of device memory; give a smaller --batch_size'
  with monkeypatch.context() as patch:
    patch.setattr(decode, 'copy_weights', exhausted)
    with pytest.raises(InputError, match=said):
      sample(model, taught / 'prompts.jsonl', tmp_path / 'a.jsonl', **GREEDY)
  monkeypatch.setattr(decode, 'empty_cache', exhausted)
  with pytest.raises(InputError, match=said):
    sample(model, taught / 'prompts.jsonl', tmp_path / 'a.jsonl', **GREEDY)


def test_a_file_of_prompts_is_no_file_of_answers(taught, tmp_path):
  prompts = Path(shutil.copy(taught / 'prompts.jsonl', tmp_path / 'p.jsonl'))
  with pytest.raises(InputError, match=r'p\.jsonl:1: not an answer of this command'):
    sample(Model(str(taught / 'run'), dtype='float32'), prompts, prompts, **GREEDY)


def test_answers_of_something_else_are_not_overwritten(taught, tmp_path):
  (tmp_path / 'a.jsonl').write_text('{"text": "mine"}\n')
  with pytest.raises(InputError, match=r'a\.jsonl:1: not an answer'):
    sample(Model(str(taught / 'run')), taught / 'prompts.jsonl', tmp_path / 'a.jsonl', **GREEDY)
  assert (tmp_path / 'a.jsonl').read_text() == '{"text": "mine"}\n'


def test_training_refuses_samples_without_prompts(small_data, tmp_path):
  for overrides, said in (
    ({'sample_every': 3}, 'needs prompts'),
    ({'sample_every': -1}, 'sample_every=-1'),
    ({'sample_every': 3, 'sample_prompts': '/nowhere.jsonl'}, 'cannot read /nowhere.jsonl'),
  ):
    with pytest.raises(InputError, match=said):
      train(make_config(small_data, **overrides), tmp_path / 'run')
  assert not (tmp_path / 'run' / 'metrics.jsonl').exists()


def test_the_command_answers_and_refuses_in_one_line(taught, tmp_path):
  answers = tmp_path / 'a.jsonl'
  files = [f'--prompts={taught / "prompts.jsonl"}', f'--answers={answers}']
  cases = {
    'good': [f'--checkpoint={taught / "run"}', '--temperature=0', '--max_new_tokens=16', '--dtype=float32', *files],
    'missing': files,
    'wrong': ['--checkpoint=/nowhere', *files],
    'nan': [f'--checkpoint={taught / "run"}', '--temperature=nan', *files],
  }
  start = lambda arguments: subprocess.Popen(
    [sys.executable, '-m', 'skillmix_jax.sample', *arguments],
    cwd=ROOT, env=os.environ | {'JAX_PLATFORMS': 'cpu'}, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip
  running = {name: start(arguments) for name, arguments in cases.items()}
  errors = {name: process.communicate(timeout=300)[1] for name, process in running.items()}
  assert running.pop('good').returncode == 0, errors['good']
  assert answers_of(read(answers)) == EXPECTED
  for name, process in running.items():
    assert process.returncode == 2 and errors[name].count('\n') == 1, errors[name]
  assert '--checkpoint is missing' in errors['missing'] and 'temperature=nan' in errors['nan']


def test_damaged_weights_begin_no_answers_file(tmp_path):
  old = Path(__file__).parent / 'fixtures' / '0.1'
  workdir = shutil.copytree(old / 'workdir', tmp_path / 'w')
  truncate(workdir / 'checkpoints' / '2' / 'params')
  numbers = {'temperature': 0, 'top_p': 1, 'max_new_tokens': 2, 'seed': 0}
  with pytest.raises(InputError, match=r'step 2 .*cannot be read'):
    sample(Model(str(workdir), dtype='float32'), old / 'prompts.jsonl', tmp_path / 'a.jsonl', **numbers)
  assert not list(tmp_path.glob('a.jsonl*'))
