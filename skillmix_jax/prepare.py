"""Turns dialogs and plain text into training data: tokens, and which of them are trained.

  python -m skillmix_jax.prepare --dialogs=k1.jsonl,k2.jsonl --code='src/**/*.py' --wet='crawl/*.warc.wet.gz' \\
      --tokenizer=llama-13b/tokenizer --template=llama2 --length=1024 --rows=64000 --out=data/k12

Any source may be left out. Dialogs are JSONL, one {"id", "messages": [{"role", "content"}, ...], "meta": {"k": 2}}
a line; the answers and their end tokens are trained, the rest is context. Documents of --code, --wet and --text
(JSONL of {"text": ...}, or tfds:NAME:SPLIT for a dataset that tensorflow-datasets has prepared) are joined and
chopped into rows of --length tokens, all of them trained.

--row_length, a multiple of --length, is for training with data.packing=True: that many tokens are a row, which several
dialogs, or several rows of text, share without seeing each other. It changes how much is padding and nothing else:
neither what is cut, nor the records, nor which of them a step trains on.

--template=auto takes the template that gives the ids of the tokenizer's own chat template, and says so where none
does. A --template that is named and is not the tokenizer's own is refused; a tokenizer without one goes with any.

A dialog longer than --length loses its end, and then its last answer has no end token. That is counted per k and
printed; it is refused where it happens to more than --max_cut of the dialogs, or where nothing is left of an answer:
--drop_cut leaves such dialogs out, counted per k as well.

A share of dialogs and documents (--held_out) is set apart by a hash of the content, to measure the loss on. The
same input gives the same bytes. docs/guides/data.md describes the files; `skillmix_jax.view` shows what is in them.
"""

import pathlib
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from absl import flags
from rich.console import Console

from skillmix_jax import command, data_summary
from skillmix_jax.data import chat, manifest, own_template, records, rows, sources, tokenizer
from skillmix_jax.data.templates import TEMPLATES
from skillmix_jax.errors import InputError
from skillmix_jax.lock import hold
from skillmix_jax.progress import Preparing

FLAGS = flags.FLAGS


def text_sources(
  folder, encoder, document_end, length, held_out, *, code, wet, text, languages
) -> list[rows.TextSource]:
  """Returns the text sources that are given, in the order of the manifest."""
  counts: dict[str, Counter] = {name: Counter() for name in records.TEXT_SOURCES}
  given = {
    'code': sources.code(code, counts['code']) if code else None,
    'wet': sources.wet(wet, languages, counts['wet']) if wet else None,
    'text': sources.text(text) if text else None,
  }
  return [
    rows.TextSource(folder, name, documents, counts[name], encoder, length, held_out, document_end)
    for name, documents in given.items()
    if documents is not None
  ]


def prepare(
  *,
  out: str | pathlib.Path,
  tokenizer_path: str | pathlib.Path,
  template: str,
  length: int = 1024,
  row_length: int | None = None,
  dialogs: Sequence[str] = (),
  code: str = '',
  wet: str = '',
  text: Sequence[str] = (),
  max_rows: int = 0,
  shares: Mapping[str, float] | None = None,
  languages: Sequence[str] = (),
  max_cut: float = 0.5,
  drop_cut: bool = False,
  held_out: float = 0.01,
) -> dict:
  """Writes the folder `out` and returns its manifest; the arguments are the command's flags.

  The folder appears when it is complete. An earlier output in its place is replaced, anything else is not.

  Raises:
    InputError: something in the input is wrong.
  """
  if not (dialogs or code or wet or text):
    raise InputError('nothing to prepare: give --dialogs, --code, --wet or --text')
  row_length = length if row_length is None else row_length
  if row_length < length or row_length % length:
    raise InputError(
      f'--row_length={row_length} must be a multiple of --length={length}: a row holds one or more dialogs of at most '
      'so many tokens, or rows of text of so many'
    )
  text_names = [name for name, given in (('code', code), ('wet', wet), ('text', text)) if given]
  if shares:
    _check_shares(shares, text_names, max_rows)
  encoder = tokenizer.load(tokenizer_path)
  if template == own_template.AUTO:
    template = own_template.choose(encoder)
  elif dialogs:
    own_template.check(template, encoder)
  out = pathlib.Path(out).absolute()
  part = out.with_name(f'.{out.name}.part')
  with hold(out, out.with_name(f'.{out.name}.lock')):
    _check_out(out, part)
    try:
      with Preparing(Console()) as progress:
        cuts = rows.Cuts(length, drop_cut)
        done: list[rows.Source] = []
        lengths: list[int] = []
        if dialogs:
          source, lengths = rows.write_dialogs(
            part, sources.dialogs(dialogs), encoder, template, cuts, held_out, progress.update
          )
          cuts.check(max_cut)
          done.append(source)
        end = TEMPLATES[template].document_end_id(encoder)
        documents = text_sources(
          part, encoder, end, length, held_out, code=code, wet=wet, text=text, languages=languages
        )
        rows.write_text(documents, max_rows, shares or {}, progress.update)
        done.extend(documents)
      encoder.save(part / 'tokenizer')
      np.save(part / manifest.LENGTHS, np.asarray(lengths, np.int32), allow_pickle=False)
      described = _describe(done, cuts, encoder, template, length, row_length)
      if shares:
        _add_shares(described['sources'], shares, documents)
      manifest.write(part, described)
      _move_into_place(part, out)
    finally:
      shutil.rmtree(part, ignore_errors=True)
  return described


def parse_shares(flag: Sequence[str]) -> dict[str, float]:
  """Reads --shares=code:1,wet:3; raises InputError for what is no NAME:NUMBER above 0."""
  shares: dict[str, float] = {}
  for part in flag:
    name, _, text = part.partition(':')
    try:
      number = float(text)
    except ValueError:
      number = 0.0
    if not 0 < number < float('inf') or name in shares:
      raise InputError(
        f'--shares: {part!r} must be NAME:NUMBER with a number above 0, each name once, as in code:1,wet:3'
      )
    shares[name] = number
  return shares


def _check_shares(shares: Mapping[str, float], sources: Sequence[str], max_rows: int):
  if odd := sorted(shares.keys() ^ set(sources)):
    raise InputError(
      f'--shares names {", ".join(shares)}, but the text sources given are {", ".join(sources) or "none"}: '
      f'{odd[0]!r} must be in both'
    )
  if not max_rows:
    raise InputError('--shares needs --rows: a share of how many rows? Without it every document is taken')


def _add_shares(counts: dict[str, dict], shares: Mapping[str, float], documents: Sequence[rows.TextSource]):
  """Adds to each text source what share of the rows it should have, what it has, and whether it ran out."""
  num_rows = sum(counts[name]['train_rows'] for name in shares)
  for source in documents:
    counts[source.name] |= {
      'share_wanted': shares[source.name] / sum(shares.values()),
      'share_reached': counts[source.name]['train_rows'] / num_rows,
      'ran_out': source.ran_out,
    }


def _check_out(out: pathlib.Path, part: pathlib.Path):
  if out.exists() and not (out / 'manifest.json').is_file() and (not out.is_dir() or any(out.iterdir())):
    raise InputError(f'--out={out} exists and is not an output of prepare: give another folder, or remove it')
  try:
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    part.mkdir(parents=True)
  except OSError as error:
    raise InputError(f'cannot write --out={out}: {error.strerror}') from error


def _move_into_place(part: pathlib.Path, out: pathlib.Path):
  old = out.with_name(f'.{out.name}.old')
  if out.exists():
    shutil.rmtree(old, ignore_errors=True)
    out.rename(old)
  part.rename(out)
  shutil.rmtree(old, ignore_errors=True)


def _describe(
  done: Sequence[rows.Source], cuts: rows.Cuts, encoder, template: str, length: int, row_length: int
) -> dict:
  """Finishes the sources; returns the manifest, but for its files."""
  counts = {source.name: source.close() for source in done}
  training = {
    'template': chat.identity(template),
    'tokenizer': encoder.identity,
    'length': length,
    'vocab_size': encoder.vocab_size,
    'token_dtype': records.token_dtype(encoder.vocab_size).name,
  }
  content = {source.name: source.sha256() for source in done}
  return {
    'format': manifest.FORMAT,
    'fingerprint': manifest.fingerprint(training, content),
    **training,
    'row_length': row_length,  # not in the fingerprint: the same records, and the same batches up to where they are
    'sources': counts,
    'cuts': {k: dict(counts) for k, counts in sorted(cuts.by_k.items())},
    'records_sha256': content,
  }


def main():
  for name in ('tokenizer', 'template', 'out'):
    if not FLAGS[name].value:
      raise InputError(f'--{name} is missing; see --help for an example')
  described = prepare(
    out=FLAGS.out,
    tokenizer_path=FLAGS.tokenizer,
    template=FLAGS.template,
    length=FLAGS.length,
    row_length=FLAGS.row_length,
    dialogs=FLAGS.dialogs,
    code=FLAGS.code,
    wet=FLAGS.wet,
    text=FLAGS.text,
    max_rows=FLAGS.rows,
    shares=parse_shares(FLAGS.shares),
    languages=FLAGS.languages,
    max_cut=FLAGS.max_cut,
    drop_cut=FLAGS.drop_cut,
    held_out=FLAGS.held_out,
  )
  console = Console()
  data_summary.show(described, console)
  console.print(
    f'written to {FLAGS.out}; look at it: python -m skillmix_jax.view --data={FLAGS.out}', soft_wrap=True, markup=False
  )


if __name__ == '__main__':
  # Defined here and not on import, since several commands call a flag --rows.
  flags.DEFINE_list('dialogs', [], 'JSONL files of dialogs, with commas between them')
  flags.DEFINE_string('code', '', 'pattern of source files, for example "src/**/*.py"')
  flags.DEFINE_string('wet', '', 'pattern of Common Crawl WET files')
  flags.DEFINE_list('text', [], 'JSONL files of {"text": ...} and tfds:NAME:SPLIT, with commas between them')
  flags.DEFINE_string('tokenizer', None, 'folder with tokenizer.model or tokenizer.json')
  flags.DEFINE_enum(
    'template', None, [own_template.AUTO, *sorted(TEMPLATES)],
    'chat template of the model; auto: that of the tokenizer, where one of ours gives the same ids',
  )  # fmt: skip
  flags.DEFINE_integer('length', 1024, 'most tokens of a dialog, and tokens of a row of text', lower_bound=2)
  flags.DEFINE_integer(
    'row_length', None, 'tokens of a row that several of these share with data.packing=True: a multiple of --length, '
    'which is the default', lower_bound=1,
  )  # fmt: skip
  flags.DEFINE_string('out', None, 'folder to write')
  flags.DEFINE_integer(
    'rows', 0, 'stop at so many text rows, in equal shares from the text sources; 0: all', lower_bound=0
  )
  flags.DEFINE_list('shares', [], 'shares of --rows by source instead of equal ones, for example code:1,wet:3')
  flags.DEFINE_list('languages', [], 'keep WET pages in one of these (eng,deu,...); default: all')
  flags.DEFINE_float('max_cut', 0.5, 'largest share of dialogs whose answer may be cut', lower_bound=0, upper_bound=1)
  flags.DEFINE_boolean('drop_cut', False, 'leave out dialogs with an answer that is wholly after --length')
  flags.DEFINE_float('held_out', 0.01, 'share of documents and dialogs to hold out', lower_bound=0, upper_bound=1)
  command.run(main)
