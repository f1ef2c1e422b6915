"""A catalog is the paper's data verbatim, or a user's, and whatever is wrong with it is said with file and value."""

import json
import shutil
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from configs import eval_generate, eval_paper
from evals import graders
from evals.questions import catalog
from skillmix_jax.errors import InputError


@pytest.fixture(scope='module')
def paper():
  return catalog.load()


@pytest.fixture
def folder(tmp_path):
  """A writable copy of the paper's catalog."""
  shutil.copytree(catalog.PAPER, tmp_path / 'mine', copy_function=shutil.copyfile)
  return tmp_path / 'mine'


def edit(path, change):
  record = json.loads(path.read_text())
  change(record)
  path.write_text(json.dumps(record))


def test_the_paper_s_catalog_has_the_printed_numbers(paper):
  assert (paper.name, len(paper.skills), paper.language) == ('paper', 104, None)
  assert sum(skill.table == 'train' for skill in paper.skills) == 59
  assert [len(paper.topics[half]) for half in ('train', 'held_out')] == [50, 50]
  assert set(paper.prompts) == {'student_round1', 'student_round2', 'grade', 'grade_claude'}
  assert 'Regatta, sailing' in paper.topics['train']


@pytest.mark.parametrize(
  'setting, split, k, num_skills, num_topics',
  [
    ('train', 'category', 2, 54, 50), ('held_out', 'category', 2, 50, 50), ('all', 'category', 2, 104, 100),
    ('train', 'table', 2, 59, 50), ('held_out', 'table', 2, 45, 50), ('all', 'table', 2, 104, 100),
    ('generate', 'category', 1, 104, 50), ('generate', 'category', 2, 54, 50), ('generate', 'table', 3, 59, 50),
  ],
)  # fmt: skip
def test_settings_draw_from_the_skills_and_topics_of_appendix_c1(paper, setting, split, k, num_skills, num_topics):
  skills, topics = paper.pool(setting, split, k=k)
  assert (len(skills), len(topics)) == (num_skills, num_topics)


def test_train_and_held_out_are_disjoint(paper):
  for split in catalog.SPLITS:
    (train, train_topics), (held_out, held_out_topics) = (paper.pool(one, split) for one in ('train', 'held_out'))
    assert not set(train) & set(held_out) and not set(train_topics) & set(held_out_topics)


def test_unknown_names_are_answered_with_the_closest(paper):
  with pytest.raises(InputError, match="no skill 'dilema': did you mean 'dilemma'"):
    paper.skill('dilema')
  with pytest.raises(InputError, match="setting 'heldout' is not one of train, held_out, all, generate"):
    paper.pool('heldout')
  with pytest.raises(InputError, match=r'"\(\'held_out\',\'all\'\)"'):  # what ml_collections makes of held_out,all
    paper.pool('held_out,all')
  with pytest.raises(InputError, match="split 'tables'"):
    paper.pool('train', 'tables')


def test_excluded_skills_leave_the_pool(paper, tmp_path):
  listed = tmp_path / 'common.txt'
  listed.write_text("metaphor \r\n\nfalse consensus (belief one's own opinion is right)\n")
  excluded = catalog.read_exclusions(('dilemma', f'@{listed}'), paper)
  assert excluded == {'dilemma', 'metaphor', "false consensus (belief one's own opinion is right)"}
  assert len(paper.pool('all', exclude=excluded)[0]) == 101
  assert catalog.read_exclusions('', paper) == frozenset()


def test_an_unknown_excluded_skill_is_an_error(paper, tmp_path):
  listed = tmp_path / 'common.txt'
  listed.write_text('metaphor\nmetafor\n')
  with pytest.raises(InputError, match=r"common\.txt:2: .*no skill 'metafor': did you mean 'metaphor'"):
    catalog.read_exclusions((f'@{listed}',), paper)
  with pytest.raises(InputError, match=r"exclude_skills: .*no skill 'metaphor,dilemma'.*\('metaphor','dilemma'\)"):
    catalog.read_exclusions(('metaphor,dilemma',), paper)
  with pytest.raises(InputError, match='nowhere: No such file'):
    catalog.read_exclusions(('@nowhere',), paper)


def test_a_folder_without_prompts_uses_the_paper_s(paper, folder):
  shutil.rmtree(folder / 'prompts')
  mine = catalog.load(folder)
  assert mine.prompts == paper.prompts and mine.skills == paper.skills
  assert (mine.name, mine.folder, mine.fingerprint) == ('mine', folder, paper.fingerprint)


def test_the_fingerprint_covers_skills_topics_and_prompts(paper, folder):
  found = {paper.fingerprint}
  for change in (
    lambda: edit(folder / 'skills.json', lambda record: record['skills'][0].update(definition='Another one. ')),
    lambda: edit(folder / 'topics.json', lambda record: record['train'].pop()),
    lambda: (folder / 'prompts/grade.txt').open('a').write('\n'),
  ):
    change()
    found.add(catalog.load(folder).fingerprint)
  assert len(found) == 4


def test_texts_are_verbatim(folder):
  odd = {'name': ' a, "b" | c ', 'definition': 'Ends in a blank. ', 'example': '“curly” {braces}\r\n'}
  edit(folder / 'skills.json', lambda record: record['skills'][0].update(odd))
  (folder / 'prompts/grade_claude.txt').unlink()
  mine = catalog.load(folder)
  assert {key: getattr(mine.skills[0], key) for key in odd} == odd
  assert set(mine.prompts) == {'student_round1', 'student_round2', 'grade'}
  assert mine.skill(' a, "b" | c ') is mine.skills[0]


def skills(change):
  return 'skills.json', lambda record: change(record['skills'])


WRONG = {
  'missing key': (*skills(lambda s: s[2].pop('example')), r'skills\.json: skill 3 \(.*\): "example" is missing'),
  'wrong type': (*skills(lambda s: s[0].update(definition=3)), r'skill 1 .*"definition" is 3, not a string'),
  'not an object': (*skills(lambda s: s.insert(0, 'irony')), "skill 1 is 'irony', not an object with name, category"),
  'blank name': (*skills(lambda s: s[0].update(name='  ')), '"name" is blank'),
  'same name': (*skills(lambda s: s[9].update(name=f'{s[0]["name"]} '.upper())), 'occurs twice, first as "false con'),
  'wrong table': (*skills(lambda s: s[0].update(table='test')), '"table" is \'test\'; it must be "train" or'),
  'no skills': (*skills(lambda s: s.clear()), r'skills\.json: "skills" is empty'),
  'no key skills': ('skills.json', lambda r: r.pop('skills'), '"skills" is missing'),
  'skills no list': ('skills.json', lambda r: r.update(skills={'a': 1}), '"skills" is {\'a\': 1}'),
  'language': ('skills.json', lambda r: r.update(language=3), '"language" is 3, not a string'),
  'no topics': ('topics.json', lambda r: r.update(train=[], held_out=[]), r'topics\.json: no topics; it needs "train"'),
  'topics no list': ('topics.json', lambda r: r.update(held_out='Sushi'), '"held_out" is \'Sushi\'; it must be a list'),
  'topic no text': ('topics.json', lambda r: r['train'].insert(1, None), 'topic 2 of "train" is None, not a text'),
  'same topic': ('topics.json', lambda r: r['train'].append('Skiing'), 'topic \'Skiing\' occurs twice in "train"'),
}


@pytest.mark.parametrize('name', WRONG)
def test_wrong_values_are_named_with_their_file(folder, name):
  file, change, message = WRONG[name]
  edit(folder / file, change)
  with pytest.raises(InputError, match=message) as error:
    catalog.load(folder)
  assert str(folder / file) in str(error.value) and '\n' not in str(error.value)


TEMPLATES = {
  'unknown field': ('grade', lambda text: text + '{skill}', 'field {skill} is unknown; there are {num_sentences_str}'),
  'positional field': ('grade', lambda text: text + '{}', 'field {} is unknown'),
  'attribute': ('grade', lambda text: text + '{topic.__class__}', 'field {topic.__class__} is unknown'),
  'conversion': ('grade', lambda text: text + '{topic!r}', 'field {topic} has a format or conversion'),
  'missing field': ('grade', lambda text: text.replace('{student_answer}', ''), 'field {student_answer} is missing'),
  'no limit': ('student_round2', lambda text: 'Again!', 'field {num_sentences_str} is missing'),
  'answer in round 1': ('student_round1', lambda text: text + '{student_answer}', 'field {student_answer} is unknown'),
  'single brace': ('student_round1', lambda text: text + '{', 'is doubled: {{ or }}'),
}


@pytest.mark.parametrize('name', TEMPLATES)
def test_wrong_templates_are_named(folder, name):
  prompt, change, message = TEMPLATES[name]
  path = folder / 'prompts' / f'{prompt}.txt'
  path.write_text(change(path.read_text()))
  with pytest.raises(InputError) as error:
    catalog.load(folder)
  assert message in str(error.value) and str(path) in str(error.value)


def test_unreadable_files_are_named_with_their_line(folder):
  (folder / 'topics.json').write_text('{"train": ["a"],\n "held_out": [b]}')
  with pytest.raises(InputError, match=r'topics\.json:2: not JSON'):
    catalog.load(folder)
  (folder / 'topics.json').write_bytes(b'{"train": ["\xff"]}')
  with pytest.raises(InputError, match=r'topics\.json: not UTF-8 at byte 12'):
    catalog.load(folder)
  (folder / 'topics.json').write_text('[1]')
  with pytest.raises(InputError, match='a JSON object is needed, not list'):
    catalog.load(folder)
  (folder / 'topics.json').unlink()
  with pytest.raises(InputError, match=r'topics\.json: No such file'):
    catalog.load(folder)
  (folder / 'prompts/grade.txt').unlink()
  shutil.copyfile(catalog.PAPER / 'topics.json', folder / 'topics.json')
  with pytest.raises(InputError, match=r'prompts/grade\.txt is missing'):
    catalog.load(folder)
  with pytest.raises(InputError, match='catalog nowhere is not a folder'):
    catalog.load('nowhere')


def test_a_split_that_leaves_a_half_empty_names_the_other_split(folder):
  edit(folder / 'skills.json', lambda record: [one.update(category='mine') for one in record['skills']])
  mine = catalog.load(folder)
  for setting in ('train', 'generate'):
    with pytest.raises(InputError, match=r'leaves no train skills: .*use split=table'):
      mine.pool(setting, k=2)
  assert len(mine.pool('generate', k=1)[0]) == len(mine.pool('all')[0]) == 104
  assert len(mine.pool('train', 'table')[0]) == 59
  edit(folder / 'skills.json', lambda record: [one.update(category='literary') for one in record['skills']])
  with pytest.raises(InputError, match=r'leaves no held_out skills: .*use split=table'):
    catalog.load(folder).pool('held_out')


@pytest.mark.parametrize('half', ['train', 'held_out'])
def test_a_half_that_no_setting_asks_for_may_be_empty(folder, half):
  other = {'train': 'held_out', 'held_out': 'train'}[half]
  edit(folder / 'topics.json', lambda record: record.pop(half))
  edit(
    folder / 'skills.json', lambda record: record.update(skills=[s for s in record['skills'] if s['table'] == other])
  )
  mine = catalog.load(folder)
  for setting in (other, 'all'):
    skills, topics = mine.pool(setting, 'table')
    assert skills == mine.skills and topics == mine.topics[other] and len(topics) == 50
  with pytest.raises(InputError, match=f'leaves no {half} skills'):
    mine.pool(half, 'table')
  edit(folder / 'skills.json', lambda record: [one.update(table=half) for one in record['skills']])
  with pytest.raises(InputError, match=rf'has no {half} topics: add some to topics\.json, or leave {half} out'):
    catalog.load(folder).pool(half, 'table')


@pytest.mark.parametrize('separator', ['\n', '\r\n'])
def test_a_list_of_skills_to_leave_out_may_come_from_any_editor(paper, tmp_path, separator):
  names = [skill.name for skill in paper.skills[:3]]
  (tmp_path / 'out.txt').write_text(separator.join(names), newline='')
  assert catalog.read_exclusions(f'@{tmp_path / "out.txt"}', paper) == set(names)


def parsed(monkeypatch, config, *arguments):
  monkeypatch.setattr(sys, 'argv', ['command', *arguments])
  values = flags.FlagValues()
  config_flags.DEFINE_config_dict('config', config, flag_values=values)
  values(sys.argv)
  return values.config


def test_the_paper_s_evaluation_is_the_default_config(monkeypatch):
  c = parsed(monkeypatch, eval_paper.get_config()).to_dict()
  assert c['settings'] == ('train', 'held_out', 'all') and c['ks'] == (1, 2, 3, 4, 5)
  assert c['num_combinations'] == (100, 100, 100, 400, 400)
  assert (c['generations'], c['votes'], c['votes_mode'], c['split'], c['seed']) == (3, 3, 'all', 'category', 0)
  assert c['student'] == {'temperature': None, 'top_p': None, 'max_tokens': None}
  g = parsed(monkeypatch, eval_generate.get_config()).to_dict()
  assert (g['settings'], g['ks'], g['generations'], g['votes']) == (('generate',), (1, 2, 3), 1, 3)
  assert g['num_combinations'] == (5000, 10000, 10000) and c.keys() == g.keys()


def test_the_command_line_overrides_numbers_and_names(monkeypatch):
  c = parsed(
    monkeypatch, eval_paper.get_config(), '--config.num_combinations=20', '--config.ks=2', '--config.settings=held_out',
    '--config.exclude_skills=@common.txt', '--config.student.temperature=0.7', '--config.student.max_tokens=512',
  )  # fmt: skip
  assert (c.num_combinations, c.ks, c.settings) == (20, (2,), ('held_out',))
  assert (c.exclude_skills, c.student.temperature, c.student.max_tokens) == (('@common.txt',), 0.7, 512)
  c = parsed(
    monkeypatch, eval_paper.get_config(), '--config.num_combinations=20,30', '--config.ks=2,3',
    "--config.settings=('held_out','all')", "--config.exclude_skills=('dilemma','a, b')", '--config.catalog=mine',
    '--config.student.temperature=0',
  )  # fmt: skip
  assert (c.num_combinations, c.ks, c.settings) == ((20, 30), (2, 3), ('held_out', 'all'))
  assert (c.exclude_skills, c.catalog, c.student.temperature) == (('dilemma', 'a, b'), 'mine', 0.0)


def test_prices_are_dated_and_found_for_snapshots():
  for model in graders.MODELS:
    assert model.source.startswith('https://') and model.noted[:5] == '2026-' and model.input <= model.output
    assert graders.family(model.name) == model.family
    assert graders.price(model.name) == graders.price(f'{model.name}-2026-09-29') == (model.input, model.output)
  assert graders.price('my-own-model') is None and graders.retired('gpt-6.1-sol') is None
  assert not {model.name for model in graders.MODELS} & set(graders.RETIRED) and 'gpt-4' in graders.RETIRED


@pytest.mark.parametrize(
  'model, family',
  {
    'gpt-4-0613': 'openai', 'o3-mini': 'openai', 'ft:gpt-4o:me': 'openai', 'claude-3-opus-20240229': 'anthropic',
    'anthropic/claude-sonnet-5-5': 'anthropic', 'meta-llama/Llama-2-13b-chat-hf': 'meta', 'mistral-large': 'mistral',
    'mistralai/Mixtral-8x7B': 'mistral', 'somebody/Qwen3-8B-AWQ': 'qwen', 'deepseek-ai/R1-Llama': 'deepseek',
    'EleutherAI/gpt-neox-20b': 'eleutherai', 'models/gemma-3': 'google', 'exact': None, 'runs/d123': None,
  }.items(),
)  # fmt: skip
def test_a_family_is_known_by_the_beginning_of_the_name(model, family):
  assert graders.family(model) == family
