#!/bin/sh
# One seed of the toy experiment: its world, a base model, fine-tunes of it, and everything graded exactly.
#
#   examples/minimix.sh demo 0 'D123 D1' 100 1,2,3,4 "('train',)"
#   examples/minimix.sh OUT SEED ARMS NUM_COMBINATIONS KS SETTINGS
#
# An arm is D and the numbers of skills in its dialogs; the arm `base` is the model that all others start from. Every
# line is an ordinary command, and the same call again goes on where it stopped. WORLD_FLAGS and TRAIN_FLAGS in the
# environment are added to evals.minimix and to every training.
set -eu
out=$1 seed=$2 arms=$3 combinations=$4 ks=$5 settings=$6
python=${PYTHON:-.venv/bin/python}
world=$out/world

prepare() {  # NAME DIALOGS
  test -f "$out/data/$1/manifest.json" || $python -m skillmix_jax.prepare --dialogs="$2" --text="$world/base/text.jsonl" \
    --tokenizer="$world/tokenizer" --template=mistral --length=192 --held_out=0.01 --out="$out/data/$1"
}

train() {  # NAME [more flags]
  name=$1
  shift
  test -f "$out/runs/$name/done" || $python -m skillmix_jax.train --config="configs/minimix.py:$name" \
    --workdir="$out/runs/$name" --config.data.path="$out/data/$name" --config.seed="$seed" ${TRAIN_FLAGS:-} "$@"
  touch "$out/runs/$name/done"
}

test -f "$world/base/text.jsonl" || $python -m evals.minimix --out="$world" --seed="$seed" ${WORLD_FLAGS:-}

prepare base "$world/base/dialogs.jsonl"
train base

for arm in $arms; do
  test "$arm" = base && continue
  dialogs=
  for k in $(echo "${arm#D}" | sed 's/./& /g'); do
    dialogs=$dialogs,$world/dialogs/d$k.jsonl,$world/base/mix$k.jsonl
  done
  prepare "$arm" "${dialogs#,}"
  train "$arm" --config.model.init_from="$out/runs/base"
done

for arm in $arms; do
  $python -m evals.sample --config=configs/eval_minimix.py --config.catalog="$world/catalog" --config.seed="$seed" \
    --config.ks="$ks" --config.num_combinations="$combinations" --config.settings="$settings" \
    --run="$out/evals/$arm" --student="checkpoint:$out/runs/$arm" --dtype=float32
  $python -m evals.grade --run="$out/evals/$arm" --grader=exact
done
