"""Makes data to try the commands on, with nothing downloaded.

    python examples/make_data.py --out=demo/raw

writes, into the folder --out,

    dialogs.jsonl              two-round dialogs that ask for a text with k = 1, 2 or 3 language skills
    pages-00000.warc.wet.gz    short pages in the format of Common Crawl's plain-text files
    tokenizer/tokenizer.model  a sentencepiece model with 2,000 pieces, trained on these texts and on Python itself

The texts are composed from small tables: they are good for seeing that everything runs, not for a result. The same
--seed gives the same dialogs and pages.
"""

import base64
import gzip
import hashlib
import io
import itertools
import json
import pathlib
import random
import sysconfig
import uuid
from collections.abc import Iterator

import sentencepiece
from absl import flags

from skillmix_jax import command
from skillmix_jax.errors import InputError

OUT = flags.DEFINE_string('out', None, 'Folder to write to.')
SEED = flags.DEFINE_integer('seed', 0, 'Chooses the combinations and the words.')
DIALOGS = flags.DEFINE_integer('dialogs', 450, 'Number of dialogs; k = 1, 2, 3 take turns.', lower_bound=1)
PAGES = flags.DEFINE_integer('pages', 300, 'Number of pages in the WET file.', lower_bound=1)

VOCAB_SIZE = 2000

# name: definition, example, patterns of one clause
SKILLS = {
  'metaphor': (
    'Speaking of one thing as if it were another.',
    '"Her diary is a locked garden."',
    ['the {tool} is {image}', '{work} is {image}', 'for {person}, the {thing} is {image}'],
  ),
  'simile': (
    'Comparing two things with "like" or "as".',
    '"The rope was as stiff as a frozen branch."',
    ['the {thing} lay there like {image}', '{person} held the {tool} like {image}'],
  ),
  'alliteration': (
    'Repeating the first sound in words that stand close together.',
    '"Seven silver spoons sank."',
    ['{person} praised the {tool_word} {tool}', 'the {thing_word} {thing} waited near the {tool_word} {tool}'],
  ),
  'personification': (
    'Giving human feelings or acts to a thing.',
    '"The kettle complained all morning."',
    ['the {tool} {human} whenever {person} left {place}', 'the {thing} {human} at dawn'],
  ),
  'hyperbole': (
    'Exaggerating far beyond what can be true.',
    '"I told you a million times."',
    ['{person} had waited {ages} for this {thing}', 'that {tool} had seen {ages} of {work}'],
  ),
  'understatement': (
    'Saying less than is meant, often by denying the opposite.',
    '"The hurricane was not a mild breeze."',
    ['the {thing} was not the worst that {place} had known', '{person} was not unhappy with the {tool}'],
  ),
  'anaphora': (
    'Beginning successive phrases with the same words.',
    '"Some came to listen, some came to sing."',
    ['every {tool} counts, every {thing} counts', 'no {thing} was too small, no {tool} was too old'],
  ),
  'oxymoron': (
    'Joining two words that contradict each other.',
    '"They kept an open secret."',
    ['a {contradiction} lay over {place}', '{person} met the broken {thing} with a {contradiction}'],
  ),
  'modus ponens': (
    'Concluding from "if A, then B" and from A that B holds.',
    '"If it is noon, the bell rings. It is noon, so the bell rings."',
    ['if {person} is in {place}, the {tool} is in use, and {person} is there, so the {tool} is in use'],
  ),
  'statistical syllogism': (
    'Concluding that one case most likely follows what holds for most cases.',
    '"Most swans are white, so the next one will be."',
    ['{most} {tool}s last a decade, so the one that {person} bought most likely will'],
  ),
  'false belief': (
    'Telling that someone acts on something untrue, not knowing better.',
    '"He waits at the gate, unaware that the train has left."',
    ['{person} looks for the {tool} in {place}, unaware that {other} took it home'],
  ),
}

# name: work, place, tools, things
TOPICS = {
  'gardening': ('gardening', 'the greenhouse', ['rake', 'spade', 'trowel'], ['seedling', 'pumpkin', 'hedge']),
  'bread baking': ('baking', 'the bakery', ['oven', 'peel', 'mixer'], ['dough', 'loaf', 'crust']),
  'beekeeping': ('beekeeping', 'the orchard', ['smoker', 'veil', 'ladder'], ['hive', 'honeycomb', 'swarm']),
  'night trains': ('travelling', 'the station', ['lantern', 'whistle', 'ticket'], ['carriage', 'platform', 'signal']),
  'pottery': ('pottery', 'the studio', ['kiln', 'wheel', 'sponge'], ['bowl', 'glaze', 'teapot']),
  'stargazing': ('stargazing', 'the observatory', ['telescope', 'map', 'tripod'], ['comet', 'crater', 'galaxy']),
  'bookbinding': ('bookbinding', 'the workshop', ['needle', 'press', 'brush'], ['spine', 'cover', 'page']),
  'river fishing': ('fishing', 'the boathouse', ['rod', 'net', 'basket'], ['trout', 'current', 'bait']),
  'chess club': ('chess', 'the club room', ['clock', 'board', 'notebook'], ['bishop', 'gambit', 'pawn']),
  'lighthouses': ('lighthouse keeping', 'the tower', ['lamp', 'foghorn', 'barometer'], ['beam', 'reef', 'storm']),
}

IMAGES = [
  'an old clock', 'a patient teacher', 'a locked door', 'a quiet river', 'a bridge between neighbours',
  'a sleeping cat', 'a letter without a stamp', 'a map of small decisions', 'a candle in a draught', 'a choir of one',
]  # fmt: skip
SAME_SOUND = {
  'b': 'big brown', 'c': 'clean copper', 'd': 'damp dusty', 'f': 'fine familiar', 'g': 'good grey', 'h': 'heavy humble',
  'k': 'keen kind', 'l': 'long light', 'm': 'mild modest', 'n': 'new neat', 'o': 'old orange', 'p': 'plain pretty',
  'r': 'round red', 's': 'slow silver', 't': 'tall tidy', 'v': 'vast velvet', 'w': 'worn white',
}  # fmt: skip
HUMAN = ['sighed', 'held its breath', 'told stories', 'sulked', 'hummed to itself', 'asked for forgiveness']
AGES = ['a thousand years', 'ten lifetimes', 'a million winters', 'an eternity and a half']
CONTRADICTIONS = ['loud silence', 'cheerful gloom', 'careful chaos', 'brief eternity', 'bitter sweetness']
MOST = ['nine in ten', 'nearly all', 'most', 'four in five']
PEOPLE = ['Amina', 'Bruno', 'Chloe', 'Dmitri', 'Esther', 'Farid', 'Greta', 'Hiro', 'Ines', 'Jonas', 'Kofi', 'Lucia']

NUM_SENTENCES = {1: 'one sentence', 2: 'one sentence', 3: 'two sentences'}
ROUND_1 = (
  'I am interested in natural language processing. Please write a minimal natural piece of text in the context of '
  '{topic} that illustrates all of the following skills: {names}. Keep the text as short as possible.\n\n'
  'For reference, here are the definitions and examples for the concepts:\n{definitions}\n\n'
  "Please start the text with 'Answer:' and start the explanation with 'Explanation:'."
)
ROUND_2 = (
  'Thanks very much. Could you please look over your answer and improve it? The new answer should better illustrate '
  'all skills, remain on topic and contain only up to {num_sentences}.\n'
  "Again, please start the text with 'Answer:' and start the explanation with 'Explanation:'."
)


def compose_clause(rng: random.Random, skill: str, topic: str) -> str:
  work, place, tools, things = TOPICS[topic]
  tool, thing = rng.choice(tools), rng.choice(things)
  person, other = rng.sample(PEOPLE, 2)
  return rng.choice(SKILLS[skill][2]).format(
    work=work, place=place, tool=tool, thing=thing, person=person, other=other,
    tool_word=SAME_SOUND[tool[0]], thing_word=SAME_SOUND[thing[0]], image=rng.choice(IMAGES), human=rng.choice(HUMAN),
    ages=rng.choice(AGES), contradiction=rng.choice(CONTRADICTIONS), most=rng.choice(MOST),
  )  # fmt: skip


def as_sentence(clauses: list[str]) -> str:
  text = ', and '.join(clauses)
  return text[0].upper() + text[1:] + '.'


def compose_answer(skills: tuple[str, ...], clauses: list[str], num_sentences: int) -> str:
  first = len(clauses) - num_sentences + 1  # the clauses that share the first sentence
  text = ' '.join([as_sentence(clauses[:first]), *(as_sentence([clause]) for clause in clauses[first:])])
  reasons = ' '.join(f'The {skill} is in "{clause}".' for skill, clause in zip(skills, clauses))
  return f'Answer: {text}\nExplanation: {reasons}'


def make_dialog(rng: random.Random, index: int) -> dict:
  k = 1 + index % 3
  topic = rng.choice(list(TOPICS))
  skills = tuple(rng.sample(list(SKILLS), k))
  clauses = [compose_clause(rng, skill, topic) for skill in skills]
  better = [compose_clause(rng, skill, topic) for skill in skills]
  definitions = '\n'.join(f'**{name}**: {SKILLS[name][0]} For example, {SKILLS[name][1]}' for name in skills)
  return {
    'id': f'demo-{index:05d}',
    'messages': [
      {'role': 'user', 'content': ROUND_1.format(topic=topic, names=', '.join(skills), definitions=definitions)},
      {'role': 'assistant', 'content': compose_answer(skills, clauses, num_sentences=k)},
      {'role': 'user', 'content': ROUND_2.format(num_sentences=NUM_SENTENCES[k])},
      {'role': 'assistant', 'content': compose_answer(skills, better, num_sentences=max(1, k - 1))},
    ],
    'meta': {'k': k, 'skills': list(skills), 'topic': topic},
  }


def make_page(rng: random.Random) -> str:
  topic = rng.choice(list(TOPICS))
  lines = [f'Notes on {topic}']
  for _ in range(rng.randint(3, 8)):
    skills = rng.choices(list(SKILLS), k=rng.randint(2, 6))
    lines.append(' '.join(as_sentence([compose_clause(rng, skill, topic)]) for skill in skills))
  return '\n'.join(lines) + '\n'


def warc_record(record_type: str, name: str, content_type: str, body: bytes, **more: str) -> bytes:
  """One record as its own gzip member, which is how Common Crawl stores them."""
  digest = base64.b32encode(hashlib.sha1(body).digest()).decode()
  headers = {
    'WARC-Type': record_type,
    'WARC-Date': '2024-01-01T00:00:00Z',
    'WARC-Record-ID': f'<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}>',
    **{key.replace('_', '-'): value for key, value in more.items()},
    'WARC-Block-Digest': f'sha1:{digest}',
    'Content-Type': content_type,
    'Content-Length': str(len(body)),
  }
  head = '\r\n'.join(['WARC/1.0', *(f'{key}: {value}' for key, value in headers.items())])
  # A gzip header holds the time of writing: 0 keeps the same input the same bytes.
  return gzip.compress(head.encode() + b'\r\n\r\n' + body + b'\r\n\r\n', mtime=0)


def write_wet(path: pathlib.Path, pages: list[str]):
  """Every tenth page has no language header, as in Common Crawl's older files."""
  with path.open('wb') as file:
    about = b'Software-Info: examples/make_data.py\r\nformat: WARC File Format 1.0\r\n'
    file.write(warc_record('warcinfo', path.name, 'application/warc-fields', about, WARC_Filename=path.name))
    for index, page in enumerate(pages):
      address = f'https://example.org/{index:05d}'
      more = {'WARC_Target_URI': address}
      if index % 10:
        more['WARC_Identified_Content_Language'] = 'eng'
      file.write(warc_record('conversion', address, 'text/plain', page.encode(), **more))


def read_sources(num_chars: int) -> Iterator[str]:
  """Lines of the standard library, about `num_chars` of them."""
  for path in sorted(pathlib.Path(sysconfig.get_path('stdlib')).glob('*.py')):
    for line in path.read_text(errors='replace').splitlines():
      if num_chars <= 0:
        return
      num_chars -= len(line)
      yield line


def train_tokenizer(path: pathlib.Path, lines: Iterator[str]):
  """The settings of LLaMA-2's tokenizer, with a smaller vocabulary."""
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=lines, model_writer=model, model_type='bpe', vocab_size=VOCAB_SIZE, byte_fallback=True,
    normalization_rule_name='identity', add_dummy_prefix=True, remove_extra_whitespaces=False, split_digits=True,
    allow_whitespace_only_pieces=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, num_threads=1, minloglevel=2,
  )  # fmt: skip
  path.write_bytes(model.getvalue())


def main():
  if OUT.value is None:
    raise InputError('--out=FOLDER is missing, for example --out=demo/raw')
  out = pathlib.Path(OUT.value)
  (out / 'tokenizer').mkdir(parents=True, exist_ok=True)
  rng = random.Random(SEED.value)

  dialogs = [make_dialog(rng, index) for index in range(DIALOGS.value)]
  (out / 'dialogs.jsonl').write_text(''.join(json.dumps(dialog) + '\n' for dialog in dialogs))

  pages = [make_page(rng) for _ in range(PAGES.value)]
  write_wet(out / 'pages-00000.warc.wet.gz', pages)

  contents = (message['content'] for dialog in dialogs for message in dialog['messages'])
  prose = (line for text in itertools.chain(contents, pages) for line in text.splitlines())
  train_tokenizer(out / 'tokenizer/tokenizer.model', itertools.chain(prose, read_sources(num_chars=500_000)))
  print(f'{out}: {len(dialogs)} dialogs, {len(pages)} pages, a tokenizer with {VOCAB_SIZE} pieces')


if __name__ == '__main__':
  command.run(main)
