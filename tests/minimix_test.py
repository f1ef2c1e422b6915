"""The toy world: what is written, what is never shown together, and that the whole pipeline takes it."""

import itertools
import json
import re

import pytest

from evals.minimix import __main__ as command
from evals.minimix import dialogs, documents, grader, language, unseen, world
from evals.questions import catalog, combinations, prompts
from skillmix_jax.data import tokenizer
from skillmix_jax.data.records import open_data
from skillmix_jax.prepare import prepare


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  out = tmp_path_factory.mktemp('minimix') / 'world'
  command.write(out, seed=0, num_dialogs=400, num_texts=100, pairs=0.0, share=0.2)
  return out


def read(path):
  return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def sentences(text):
  return [language.parse(sentence) for sentence in language.split_sentences(language.split_words(text))]


def test_the_same_seed_writes_the_same_bytes_and_another_seed_another_world(folder, tmp_path):
  for seed in (0, 1):
    command.write(tmp_path / str(seed), seed, num_dialogs=400, num_texts=100, pairs=0.0, share=0.2)
  files = sorted(path.relative_to(folder) for path in folder.rglob('*') if path.is_file())
  assert len(files) == 15
  for file in files:
    assert (tmp_path / '0' / file).read_bytes() == (folder / file).read_bytes(), file
    is_fixed = file.parts[0] == 'tokenizer' or 'prompts' in file.parts
    assert ((tmp_path / '1' / file).read_bytes() == (folder / file).read_bytes()) == is_fixed, file


def test_the_catalog_says_what_it_is_and_what_is_held_out(folder):
  loaded = catalog.load(folder / 'catalog')
  assert loaded.language == 'minimix'
  assert {skill.name for skill in loaded.skills} == set(language.SKILLS)
  assert len(loaded.skills) == 24 and len(loaded.topics['train']) == 13 and len(loaded.topics['held_out']) == 7
  train = {skill.name for skill in loaded.pool('train', split='table')[0]}
  held_out = {skill.name for skill in loaded.pool('held_out', split='table')[0]}
  assert len(train) == len(held_out) == 12 and not train & held_out
  for skill in loaded.skills:
    (sentence,) = sentences(skill.example)
    assert sentence.skills == {skill.name}


@pytest.mark.parametrize('seed', range(20))
def test_every_slot_is_split_in_half(seed):
  train, held_out = world.split_skills(seed)
  assert len(train) == len(held_out) == 12 and set(train) | set(held_out) == set(language.SKILLS)
  for slot in language.SLOTS:
    counts = [sum(language.SLOT[name] == slot for name in names) for names in (train, held_out)]
    assert abs(counts[0] - counts[1]) <= 1


def test_seeds_split_skills_differently():
  assert len({tuple(world.split_skills(seed)[0]) for seed in range(20)}) == 20


def test_half_of_the_pairs_and_triples_enter_no_dialog(folder):
  loaded = catalog.load(folder / 'catalog')
  train = {skill.name for skill in loaded.pool('train', split='table')[0]}
  for k, total in ((2, 66), (3, 220)):
    shown = {frozenset(record['meta']['skills']) for record in read(folder / 'dialogs' / f'd{k}.jsonl')}
    assert shown == {frozenset(names) for names in dialogs.seen_sets(loaded, k, seed=0)}
    assert len(shown) == total // 2 and set().union(*shown) == train
  single = {record['meta']['skills'][0] for record in read(folder / 'dialogs' / 'd1.jsonl')}
  assert single == set(language.SKILLS)


@pytest.mark.parametrize('k', [1, 2, 3])
def test_dialogs_ask_as_an_evaluation_does_and_end_with_full_marks(folder, k):
  loaded = catalog.load(folder / 'catalog')
  records = read(folder / 'dialogs' / f'd{k}.jsonl')
  assert len(records) == dialogs.SIZES[k] * 0.2
  assert len({record['id'] for record in records}) == len(records)
  for record in records:
    meta = record['meta']
    assert (meta['k'], meta['setting']) == (k, 'generate') and meta['topic'] in loaded.topics['train']
    combination = combinations.Combination('', 'generate', k, tuple(meta['skills']), meta['topic'])
    first, answer1, second, answer2 = (message['content'] for message in record['messages'])
    assert first == prompts.round1(loaded, combination) and second == prompts.round2(loaded, combination)
    assert grader.points(meta['skills'], meta['topic'], answer2) == (1,) * (k + 3)
    assert {*itertools.chain.from_iterable(s.skills for s in sentences(answer2))} == set(meta['skills'])
    # The first answer has all skills, but a sentence too many, and none with two skills.
    assert grader.points(meta['skills'], meta['topic'], answer1) == (*(1,) * (k + 2), 0)
    assert len(sentences(answer1)) == max(2, k) and max(len(s.skills) for s in sentences(answer1)) == 1


def base_answers(folder):
  """The kinds of the base dialogs, and all texts that are trained on."""
  texts = [record['text'] for record in read(folder / 'base' / 'text.jsonl')]
  kinds = set()
  for name in ('dialogs', 'mix1', 'mix2', 'mix3'):
    for record in read(folder / 'base' / f'{name}.jsonl'):
      kinds.add(record['meta']['kind'])
      texts += [message['content'] for message in record['messages'][1::2]]
  return kinds, texts


def test_base_documents_show_every_skill_but_no_two_in_a_sentence_unless_asked_for(folder):
  kinds, texts = base_answers(folder)
  assert kinds == set(documents.SHARES)
  shown = [sentence.skills for text in texts for sentence in sentences(text) if sentence is not None]
  assert max(map(len, shown)) == 1 and frozenset().union(*shown) == set(language.SKILLS)


def test_only_the_base_repeats_lists_and_fine_tuning_never_leaves_a_skill_out(folder):
  repeated = {name: set() for name in ('dialogs', 'mix1', 'mix2', 'mix3')}
  for name, kinds in repeated.items():
    for record in read(folder / 'base' / f'{name}.jsonl'):
      if len(record['messages']) > 2:
        kinds.add(record['meta']['kind'])
  assert repeated.pop('dialogs') == {'list', 'chat'}
  assert list(repeated.values()) == [{'chat'}] * 3


def test_echo_prompts_ask_for_what_follows_repeat(folder):
  records = read(folder / 'base' / 'echo.jsonl')
  assert len(records) == len({record['messages'][0]['content'] for record in records}) == 100
  for record in records:
    (message,) = record['messages']
    assert message == {'role': 'user', 'content': f'repeat {record["meta"]["answer"]}.'}
  trained = {m['content'] for record in read(folder / 'base' / 'dialogs.jsonl') for m in record['messages']}
  assert not trained & {record['messages'][0]['content'] for record in records}


def test_a_world_of_one_sentence_differs_in_the_second_turn_alone(folder, tmp_path):
  command.write(tmp_path, 0, num_dialogs=400, num_texts=100, pairs=0.0, share=0.2, one_sentence=True)
  loaded = catalog.load(tmp_path / 'catalog')
  differ = {
    str(file.relative_to(folder))
    for file in folder.rglob('*.json*') if file.read_bytes() != (tmp_path / file.relative_to(folder)).read_bytes()
  }  # fmt: skip
  assert differ == {'catalog/skills.json', 'dialogs/d3.jsonl'}  # a pair is in one sentence anyway
  for k in (2, 3):
    for usual, record in zip(read(folder / f'dialogs/d{k}.jsonl'), read(tmp_path / f'dialogs/d{k}.jsonl')):
      assert usual['messages'][:2] == record['messages'][:2] and usual['meta'] == record['meta']
      asked, answer = (message['content'] for message in record['messages'][2:])
      assert asked == 'improve it in one sentence.' and len(sentences(answer)) == 1
      skills, topic = record['meta']['skills'], record['meta']['topic']
      assert grader.points(skills, topic, answer, loaded.revised_sentences) == (1,) * (k + 3)
      two = f'{answer} {answer}'
      assert grader.points(skills, topic, two, loaded.revised_sentences) == (*(1,) * (k + 2), 0)
  question = combinations.Combination('', 'train', 4, tuple(language.SKILLS[:4]), 'sailing')
  assert prompts.round1(loaded, question).startswith('write about sailing in more than three sentences using')
  assert prompts.round2(loaded, question) == 'improve it in one sentence.'
  assert prompts.rubric(loaded, question)[-1] == 'At most one sentence'


@pytest.mark.parametrize('seed', [0, 3])
def test_no_sentence_anywhere_has_a_pair_that_is_kept_unseen(tmp_path, seed):
  apart = seed == 3  # then no two held-out skills either
  command.write(tmp_path, seed, num_dialogs=4000, num_texts=1000, pairs=0.3, share=0.2, apart=apart)
  loaded = catalog.load(tmp_path / 'catalog')
  train = {skill.name for skill in loaded.pool('train', split='table')[0]}
  seen = set(map(frozenset, dialogs.seen_sets(loaded, 2, seed)))
  every = set(map(frozenset, itertools.combinations(language.SKILLS, 2)))
  _, texts = base_answers(tmp_path)
  in_base = {s.skills for text in texts for s in sentences(text.split(': ', 1)[-1]) if s is not None}
  free = {pair for pair in every if len(pair & train) in ((1,) if apart else (0, 1))}
  assert {skills for skills in in_base if len(skills) > 1} == free | seen
  for k in (2, 3):
    answers = [record['messages'][3]['content'] for record in read(tmp_path / 'dialogs' / f'd{k}.jsonl')]
    shown = {s.skills for text in answers for s in sentences(text)}
    assert {skills for skills in shown if len(skills) > 1} == seen


def test_the_share_of_sentences_with_two_skills_is_as_asked_for(folder):
  loaded = catalog.load(folder / 'catalog')
  pairs = documents.pairs_in_sentences(loaded, 0, apart=False)
  writer = documents.Writer(loaded, 0, 'test', 0.3, pairs, repeat_lists=True)
  texts = [record['text'] for record in writer.text(300)]
  counts = [len(s.skills) for text in texts for s in sentences(text.split(': ', 1)[1]) if s is not None]
  assert 0.2 < counts.count(2) / len(counts) < 0.4


def test_what_is_unseen_in_a_world_agrees_with_a_search_for_words(folder):
  kinds, by_source = unseen.count(folder, [1, 2, 3])
  pairs = set(kinds['train pairs'])
  # a second way: `never` and `all` in one sentence of the dialogs' answers
  text = ' '.join(re.findall(r'"assistant", "content": "([^"]*)"', ''.join(
    (folder / 'dialogs' / f'd{k}.jsonl').read_text() for k in (1, 2, 3)
  ).replace('\\"', "'")))  # fmt: skip
  words = {'negation': r'\bnever\b', 'universal': r'\ball\b', 'conditional': r'\bif\b', 'causation': r'\bbecause\b'}
  for a, b in itertools.combinations(words, 2):
    number = sum(bool(re.search(words[a], s) and re.search(words[b], s)) for s in re.split('[.?]', text))
    assert by_source['D(1,2,3)'][frozenset((a, b))] == number, (a, b)
  assert len(pairs & by_source['D(1,2,3)'].keys()) == 33
  lines = unseen.table(folder, [1, 2, 3])
  assert '| asked for in D(1,2,3), exactly these | 33 of 66 | 110 of 220 | 0 of 66 | 0 of 220 |' in lines


def test_the_tokenizer_has_a_token_for_every_word_and_gives_the_text_back(folder):
  encoder = tokenizer.load(folder / 'tokenizer')
  unknown = encoder.encode('zebra')
  assert len(unknown) == 1
  records = [record for file in sorted(folder.rglob('*.jsonl')) for record in read(file)]
  for record in records:
    for text in [record['text']] if 'text' in record else [message['content'] for message in record['messages']]:
      ids = encoder.encode(text)
      assert unknown[0] not in ids and encoder.decode(ids) == text
      assert len(ids) == len(language.split_words(text))


def test_prepare_takes_it_and_trains_the_answers(folder, tmp_path):
  names = ['dialogs/d1', 'dialogs/d2', 'dialogs/d3', 'base/mix1', 'base/dialogs']
  prepare(
    out=tmp_path / 'data', tokenizer_path=folder / 'tokenizer', template='mistral', length=192,
    dialogs=[str(folder / f'{name}.jsonl') for name in names], text=[str(folder / 'base' / 'text.jsonl')],
    max_cut=0, held_out=0,
  )  # fmt: skip
  data = open_data(tmp_path / 'data')
  encoder = tokenizer.load(folder / 'tokenizer')
  dialog = data.dialogs('train').read([0])[0]
  first = read(folder / 'dialogs' / 'd1.jsonl')[0]['messages']
  trained = [int(token) for token, mask in zip(dialog.tokens, dialog.mask) if mask]
  answers = [[*encoder.encode(message['content']), encoder.eos_id] for message in first[1::2]]
  assert trained == answers[0] + answers[1]
