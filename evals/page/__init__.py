"""The report as one self-contained HTML page: nothing is fetched, and what a model wrote appears as text only."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from evals.page import audits as of_people
from evals.page import beside_paper, browser, contrasts, figure, graders, health, improving, novelty, own_tables
from evals.page.grid import SYMBOLS, said_of_needed, said_of_p
from evals.page.view import RunView, joined, labels, setting_name, short_model, slug
from evals.questions.printed import ASSUMED_N, NOVELTY_LINE, Results
from evals.results.cells import METRICS
from evals.results.contrasts import SCOPE
from evals.results.people import Audit
from evals.results.summary import Spent
from evals.results.written import about, probability, share, signed
from skillmix_jax.hidden_characters import visible

__all__ = ['RunView', 'render']

_SAMPLES = '<script type="application/json" id="samples-data">'  # what follows is no other text's: < is escaped there
_FOLDER = Path(__file__).parent


def render(runs: Sequence[RunView], results: dict, **of_page: Any) -> str:
  """The page as one text, see `pieces`."""
  return ''.join(pieces(runs, results, **of_page))


def pieces(
  runs: Sequence[RunView], results: dict, *, title: str, audits: Sequence[Audit] = (), refusals: Sequence[str] = (),
  seed: int = 0,
) -> Iterator[str]:  # fmt: skip
  """Yields the page in pieces: most of it are the samples, of which there need not be two copies in memory.

  Args:
    runs: in the order of the page; one grader each. Contrasts of any of them are shown once.
    results: the paper's results.json.
    title: what the page is about; its heading also names the runs.
    audits: of people, where there are some.
    refusals: which runs are not compared, and why.
    seed: of what is embedded where not all samples fit.

  Yields:
    UTF-8 text without lone surrogates, ready to be written.
  """
  printed = Results(results)
  pairs = contrasts.pairs(runs, printed)
  script = ''.join((_FOLDER / name).read_text(encoding='utf-8') for name in ('page.js', 'columns.js'))
  theme = (_FOLDER / 'theme.js').read_text(encoding='utf-8')
  settings = figure.settings(runs)
  comparable = [run for run in runs if run.row and run.model]
  others, beyond = [run for run in runs if run.is_other_student], novelty.novelty_table(runs, printed)
  values = {
    'title': title, 'names': joined(labels(runs)), 'runs': runs, 'labels': labels(runs), 'comparable': comparable,
    'assumed_n': ASSUMED_N,
    'graders': graders.graders(runs), 'decoy_rates': graders.decoy_rates(runs),
    'grader_note': graders.grader_note(runs), 'missing_anchors': graders.missing_anchors(runs, runs),
    'anchors': beside_paper.anchor_tables(runs, printed),
    'pairs': pairs, 'main': contrasts.main_contrast(pairs), 'symbols': SYMBOLS,
    'sections': beside_paper.paper_sections(runs, printed) if comparable or others or beyond else [],
    'novelty': beyond, 'novelty_line': NOVELTY_LINE, 'others': bool(others),
    'hosted': [label for label, run in zip(labels(runs), runs) if run.is_other_student and run.hosted],
    'ours': own_tables.our_tables(runs),
    'seen': own_tables.seen_tables(runs), 'single': own_tables.single_tables(runs),
    'gains': improving.gain_tables(runs), 'changes': improving.change_table(runs),
    'gain_refusals': improving.refusals(runs),
    'figures': [_figure(runs, printed, setting) for setting in settings],
    'side_by_side': [(run, graders.side_by_side(run.metrics.graders)) for run in runs if run.metrics.graders],
    'facts': health.facts(runs), 'by_skill': health.by_skill(runs), 'by_topic': health.by_topic(runs),
    'scope': SCOPE, 'refusals': refusals,
    'audits': audits, 'corrected_table': of_people.corrected_table,
    'days': _days(runs), 'num_done': sum(run.metrics.done for run in runs),
    'num_requests': sum(run.metrics.spent.requests for run in runs), 'total_dollars': _total_dollars(runs),
    'train_data': _train_data(runs), 'sizes': graders.sizes, 'decoys': graders.decoys,
    'style': Markup((_FOLDER / 'page.css').read_text(encoding='utf-8')), 'script': Markup(script),
    'theme': Markup(theme), 'hashes': ' '.join(map(_hash, (script, theme))), 'METRICS': METRICS,
  }  # fmt: skip
  template = _environment().get_template('template.html')
  # The samples come last: they take what room the rest leaves.
  before, start, after = template.render(values).partition(_SAMPLES)
  yield before + start
  yield browser.embed(runs, seed, len((before + start + after).encode('utf-8', 'replace')))
  yield after


def _environment() -> jinja2.Environment:
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
    lstrip_blocks=True, finalize=lambda value: visible(value) if type(value) is str else value,
  )  # fmt: skip
  environment.filters |= {
    'share': share, 'signed': signed, 'probability': probability, 'slug': slug, 'setting_name': setting_name,
    'short_model': short_model, 'day': lambda time: time[:10] or '–',
    'thousands': lambda number: '–' if number is None else f'{number:,}',
    'dollars': lambda number: '–' if number is None else f'${number:,.2f}',
    'about': about, 'said_of_p': said_of_p, 'said_of_needed': said_of_needed,
    'tokens': _tokens, 'usual_n': graders.usual_n,
  }  # fmt: skip
  return environment


def _days(runs: Sequence[RunView]) -> list[str]:
  times = [time for run in runs for time in (run.metrics.spent.started, run.metrics.spent.ended)]
  return sorted(time[:10] for time in times if time)


def _total_dollars(runs: Sequence[RunView]) -> float | None:
  values = [run.metrics.spent.dollars for run in runs]
  return None if None in values else sum(value for value in values if value is not None)


def _hash(script: str) -> str:
  """A source of the page's content security policy: only these two scripts run, whatever stands elsewhere."""
  return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _tokens(spent: Spent) -> str:
  return f'{spent.prompt_tokens:,} prompt + {spent.completion_tokens:,} completion'


def _train_data(runs: Sequence[RunView]) -> dict[str, list[str]]:
  """Training files -> the runs whose skill sets were looked up in them."""
  found: dict[str, list[str]] = {}
  for label, run in zip(labels(runs), runs):
    if run.metrics.seen:
      found.setdefault(', '.join(run.metrics.seen.train_data), []).append(label)
  return found


def _figure(runs: Sequence[RunView], printed: Results, setting: str) -> dict:
  name, series = setting_name(setting), figure.series(runs, printed, setting)
  svg = figure.draw(series, setting, figure.plain_title(name, runs))
  table = own_tables.figure_table(runs, printed, setting)
  return {'setting': name, 'svg': Markup(svg), 'legend': figure.legend(series), 'table': table}
