"""SKILL-MIX(k) for k = 1 .. 5 on training, held-out and all skills: tables 1, 3, 10, 11 and figure 2 of the paper.

A student writes 3 texts for each combination, each in two rounds; a grader votes 3 times on each text.

    python -m evals.sample --config=configs/eval_paper.py --run=runs/d123 --student=checkpoint:runs/llama13b
    python -m evals.grade --run=runs/d123 --grader=openai:gpt-6.1-sol
    python -m evals.report --runs=runs/d123 --out=report.html

Less: `--config.settings=held_out --config.ks=2,3 --config.num_combinations=20`. Several settings are written
`--config.settings="('train','held_out')"`. Tables 4 and 5 need `--config.settings=all` only.

Per student: 3 settings x (100 + 100 + 100 + 400 + 400) combinations x 3 texts = 9,900 texts, which are 19,800 requests
to the student and 29,700 to the grader; `--dry_run` says what that costs. The paper does not say how many combinations
its cells have; its authors' earlier evaluation used 100. At k = 4 and 5 the question is whether .08 differs from .00:
100 combinations say [.04, .15] against [.00, .04] (95 %, Wilson), 400 say [.06, .11] against [.00, .01].
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
  """All keys of an evaluation; the other eval_*.py change some."""
  c = ConfigDict()
  c.catalog = ''  # a folder (docs/guides/skills.md); empty: the paper's skills, topics and prompts
  c.combinations = ''  # a JSONL file of combinations instead of random ones; settings, ks, numbers are then ignored
  c.settings = ('train', 'held_out', 'all')
  c.ks = (1, 2, 3, 4, 5)
  c.num_combinations = config_dict.placeholder(object)  # one number, or one per k
  c.num_combinations = (100, 100, 100, 400, 400)
  c.exclude_skills = ()  # names, or '@FILE' with one a line
  c.split = 'category'  # what is a training skill: C.1; or table, as the paper's tables print them
  c.seed = 0

  c.generations = 3  # texts for each combination, of which the best counts: C.3
  c.student = ConfigDict()
  c.student.temperature = config_dict.placeholder(float)  # None: not sent to a hosted model
  c.student.top_p = config_dict.placeholder(float)
  c.student.max_tokens = config_dict.placeholder(int)

  c.votes = 3  # gradings of each text, of which the majority counts: C.3
  c.votes_mode = 'all'  # or adaptive: the last vote only where those before it disagree
  c.grading_prompt = 'grade'  # or grade_claude, with which the paper asked Claude: G.2
  c.length = 'count'  # whose point the length is: our counter's, as in the authors' code, or the grader's
  c.name_filter = True  # a skill whose name is said aloud earns nothing: C.3
  c.paper_row = ''  # the student's row in the paper's tables, such as 'LLaMA-2-13B-Chat D(1,2,3)'
  return c
