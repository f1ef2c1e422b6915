"""D(1), D(2), D(3): a strong student writes, a grader picks the full marks (C.1), and these become training dialogs.

    python -m evals.sample --config=configs/eval_generate.py --run=runs/generate --student=openai:gpt-6.1-sol
    python -m evals.grade --run=runs/generate --grader=openai:claude-sonnet-5-5 --base_url=https://api.anthropic.com/v1/
    python -m evals.select --run=runs/generate --ks=1,2,3 --out=data/d123.jsonl

5,000 + 10,000 + 10,000 texts (the paper's numbers) of training topics: k = 1 takes all skills, k = 2 and 3 training
skills only. 50,000 requests to the student, 75,000 to the grader. The paper kept .82, .63 and .36 of its texts.

D(4) of table 6, in a run of its own (the paper has about 1,000 texts of k = 4; that a fifth passes is our guess):

    python -m evals.sample --config=configs/eval_generate.py --run=runs/generate4 --student=openai:gpt-6.1-sol \
        --config.ks=4 --config.num_combinations=5000
"""

from configs import eval_paper


def get_config():
  """One text for each combination; no combination comes twice."""
  c = eval_paper.get_config()
  c.settings = ('generate',)
  c.ks = (1, 2, 3)
  c.num_combinations = (5000, 10000, 10000)
  c.generations = 1
  return c
