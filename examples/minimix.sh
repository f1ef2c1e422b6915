#!/bin/sh
# One seed of the toy experiment: its world, a base model, fine-tunes of it, and everything graded exactly.
#
#   examples/minimix.sh OUT SEED 'D123 D1' BASE_STEPS STEPS 'N_COMBINATIONS' 'KS' "SETTINGS"
#
# Every line is an ordinary command; the same call again goes on where it stopped.
set -eu
out=$1 seed=$2 arms=$3 base_steps=$4 steps=$5 combinations=$6 ks=$7 settings=$8
python=${PYTHON:-.venv/bin/python}
world=$out/world

prepare() {  # NAME DIALOGS
  test -f "$out/data/$1/manifest.json" || $python -m skillmix_jax.prepare --dialogs="$2" --text="$world/base/text.jsonl" \
    --tokenizer="$world/tokenizer" --template=mistral --length=192 --held_out=0.01 --out="$out/data/$1"
}

train() {  # NAME STEPS [more flags]
  name=$1 num_steps=$2
  shift 2
  test -d "$out/runs/$name/checkpoints/$num_steps" || $python -m skillmix_jax.train \
    --config="configs/minimix.py:$name" --workdir="$out/runs/$name" --config.data.path="$out/data/$name" \
    --config.seed="$seed" --config.steps="$num_steps" "$@"
}

test -f "$world/catalog/skills.json" || $python -m evals.minimix --out="$world" --seed="$seed"

prepare base "$world/base/dialogs.jsonl"
train base "$base_steps"

for arm in $arms; do
  dialogs=
  for k in $(echo "${arm#D}" | sed 's/./& /g'); do
    dialogs=$dialogs,$world/dialogs/d$k.jsonl,$world/base/mix$k.jsonl
  done
  prepare "$arm" "${dialogs#,}"
  train "$arm" "$steps" --config.model.init_from="$out/runs/base"
done

for arm in $arms; do
  $python -m evals.sample --config=configs/eval_minimix.py --config.catalog="$world/catalog" --config.seed="$seed" \
    --config.ks="$ks" --config.num_combinations="$combinations" --config.settings="$settings" \
    --run="$out/evals/$arm" --student="checkpoint:$out/runs/$arm" --dtype=float32
  $python -m evals.grade --run="$out/evals/$arm" --grader=exact
done
