"""The toy world's evaluation: k = 1 .. 5 on training, held-out and all skills, graded exactly and once.

    python -m evals.sample --config=configs/eval_minimix.py --run=runs/minimix-eval-D123 \
        --student=checkpoint:runs/minimix-D123 --dtype=float32
    python -m evals.grade --run=runs/minimix-eval-D123 --grader=exact
    python -m evals.report --runs=runs/minimix-eval-D1,runs/minimix-eval-D123 --out=report.html \
        --train_data=data/minimix/dialogs/d1.jsonl,data/minimix/dialogs/d2.jsonl,data/minimix/dialogs/d3.jsonl

The catalog is that of python -m evals.minimix --out=data/minimix.
"""

from configs import eval_paper


def get_config():
  """The paper's sampling: three generations, of which the best counts; .7 is ours (the paper names no temperature)."""
  c = eval_paper.get_config()
  c.catalog = 'data/minimix/catalog'
  c.num_combinations = 100
  c.split = 'table'
  c.student.temperature, c.student.max_tokens = 0.7, 96
  c.votes = 1  # an exact grader always says the same
  return c
