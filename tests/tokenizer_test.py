import random

import pytest
import sentencepiece
from helpers.data_fixtures import bpe_folder, fuzz_text, mistral_folder

from skillmix_jax.data import tokenizer
from skillmix_jax.errors import InputError


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  root = tmp_path_factory.mktemp('tokenizers')
  return {'sentencepiece': mistral_folder(root / 'm'), 'tokenizers': bpe_folder(root / 'b')}


@pytest.mark.parametrize('kind', ['sentencepiece', 'tokenizers'])
def test_control_tokens_in_text_stay_text(folders, kind):
  encoder = tokenizer.load(folders[kind])
  assert encoder.kind == kind
  for text in ('</s>', 'a</s><s>b', '<s> [INST] </s>', '<unk>'):
    ids = encoder.encode(text)
    assert encoder.bos_id not in ids and encoder.eos_id not in ids
    assert encoder.decode(ids) == text
  assert encoder.piece(encoder.eos_id) == '</s>'
  assert encoder.decode([encoder.bos_id, *encoder.encode('moon'), encoder.eos_id]) == 'moon'


@pytest.mark.parametrize('kind', ['sentencepiece', 'tokenizers'])
def test_every_text_survives_and_ids_are_below_vocab_size(folders, kind):
  encoder = tokenizer.load(folders[kind])
  rng = random.Random(0)
  texts = [fuzz_text(rng) for _ in range(200)]
  for text, ids in zip(texts, encoder.encode_batch(texts), strict=True):
    assert ids == encoder.encode(text)
    assert min(ids) >= 0 and max(ids) < encoder.vocab_size
    # sentencepiece knows no difference between '▁' and the blank that it stands for.
    assert encoder.decode(ids) == (text.replace('▁', ' ') if kind == 'sentencepiece' else text)


def test_sentencepiece_is_used_as_it_is(folders):
  encoder = tokenizer.load(folders['sentencepiece'])
  model = sentencepiece.SentencePieceProcessor(model_file=str(folders['sentencepiece'] / 'tokenizer.model'))
  text = 'def f():\n    return  [i  for i in x]\n'
  assert encoder.encode(text) == model.encode(text)
  assert (encoder.vocab_size, encoder.bos_id, encoder.eos_id) == (32000, 1, 2)
  # Two blanks in a row: the run of blanks has the lowest score and is merged last.
  assert [encoder.piece(i) for i in encoder.encode('the  a')] == ['▁the', '▁', '▁a']


def test_tokenizer_model_is_preferred(folders, tmp_path):
  both = mistral_folder(bpe_folder(tmp_path / 'both'))
  assert tokenizer.load(both).kind == 'sentencepiece'
  assert tokenizer.load(both / 'tokenizer.json').kind == 'tokenizers'


@pytest.mark.parametrize('token', ['<|end|>', {'content': '<|end|>', 'lstrip': False}])
def test_control_tokens_are_named_by_the_config_beside(tmp_path, token):
  folder = bpe_folder(tmp_path, ['<s>', '<|end|>'], {'bos_token': '<s>', 'eos_token': token})
  encoder = tokenizer.load(folder)
  assert encoder.piece(encoder.eos_id) == '<|end|>'
  assert encoder.eos_id not in encoder.encode('x<|end|>')


def test_a_saved_copy_is_the_same_tokenizer(folders, tmp_path):
  for kind, folder in folders.items():
    encoder = tokenizer.load(folder)
    encoder.save(tmp_path / kind)
    assert tokenizer.load(tmp_path / kind).sha256 == encoder.sha256
  renamed = tmp_path / 'mistral.model.v1'
  renamed.write_bytes((folders['sentencepiece'] / 'tokenizer.model').read_bytes())
  assert tokenizer.load(renamed).sha256 == tokenizer.load(folders['sentencepiece']).sha256


def _no_such_file(folder):
  return folder / 'nothing'


def _empty_folder(folder):
  return folder


def _damaged_model(folder):
  (folder / 'tokenizer.model').write_bytes(b'not a model')
  return folder


def _damaged_json(folder):
  (folder / 'tokenizer.json').write_text('{}')
  return folder


def _no_end_token(folder):
  return bpe_folder(folder, ['<s>'])


def _model_without_end_token(folder):
  corpus = folder / 'corpus.txt'
  corpus.write_text('the moon sings\n' * 50 + 'a river of silver stones falls\n' * 50)
  sentencepiece.SentencePieceTrainer.train(
    input=str(corpus), model_prefix=str(folder / 'tokenizer'), vocab_size=20, eos_id=-1, minloglevel=2
  )
  return folder


@pytest.mark.parametrize(
  ('make', 'says'),
  [
    (_no_such_file, 'no tokenizer at'),
    (_empty_folder, 'holds neither'),
    (_damaged_model, 'not a sentencepiece model'),
    (_damaged_json, 'not a tokenizer.json'),
    (_no_end_token, "has no end token \\(EOS\\) '</s>'"),
    (_model_without_end_token, 'has no end token'),
  ],
)
def test_an_unusable_tokenizer_is_named(tmp_path, make, says):
  with pytest.raises(InputError, match=says) as error:
    tokenizer.load(make(tmp_path))
  assert str(tmp_path) in str(error.value)
