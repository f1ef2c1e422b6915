#!/bin/sh
# One seed of the toy experiment: its world, a base model, fine-tunes of it, and everything graded exactly.
#
#   examples/minimix.sh demo 0 'D123 D1' 100 1,2,3,4 "('train',)"
#   examples/minimix.sh OUT SEED ARMS NUM_COMBINATIONS KS SETTINGS
#
# An arm is D and the numbers of skills in its dialogs; the arm `base` is the model that all others start from. A base
# that does not copy (evals.minimix.echo) is trained 600 steps further, once; if it does not copy then, the seed ends
# here with exit code 1. Every line is an ordinary command, and the same call again goes on where it stopped. WORLD_FLAGS,
# TRAIN_FLAGS and ECHO_FLAGS in the environment are added to evals.minimix, to every training and to evals.minimix.echo.
set -eu
out=$1 seed=$2 arms=$3 combinations=$4 ks=$5 settings=$6
python=${PYTHON:-.venv/bin/python}
world=$out/world

prepare() {  # NAME DIALOGS
  test -f "$out/data/$1/manifest.json" || $python -m skillmix_jax.prepare --dialogs="$2" --text="$world/base/text.jsonl" \
    --tokenizer="$world/tokenizer" --template=mistral --length=192 --held_out=0.01 --out="$out/data/$1"
}

train() {  # NAME STAGE [more flags]
  name=$1 stage=$2
  shift 2
  test -f "$out/runs/$name/done" || $python -m skillmix_jax.train --config="configs/minimix.py:$stage" \
    --workdir="$out/runs/$name" --config.data.path="$out/data/$stage" --config.seed="$seed" ${TRAIN_FLAGS:-} "$@"
  touch "$out/runs/$name/done"
}

copies() {  # NAME: sets `echo` to the gate's exit code
  test -f "$out/runs/$1/echoed" || $python -m skillmix_jax.sample --checkpoint="$out/runs/$1" \
    --prompts="$world/base/echo.jsonl" --answers="$out/runs/$1/echo.jsonl" --temperature=0 --max_new_tokens=32 \
    --dtype=float32
  touch "$out/runs/$1/echoed"
  echo=0
  $python -m evals.minimix.echo --prompts="$world/base/echo.jsonl" --answers="$out/runs/$1/echo.jsonl" ${ECHO_FLAGS:-} ||
    echo=$?
  test "$echo" -le 1 || exit "$echo"
}

test -f "$world/base/text.jsonl" || $python -m evals.minimix --out="$world" --seed="$seed" ${WORLD_FLAGS:-}

base=base
prepare base "$world/base/dialogs.jsonl"
train base base
copies base
if [ "$echo" = 1 ]; then
  base=base-more
  train base-more base --config.model.init_from="$out/runs/base" --config.steps=600
  copies base-more
  test "$echo" = 0 || exit 1
fi

for arm in $arms; do
  test "$arm" = base && continue
  dialogs=
  for k in $(echo "${arm#D}" | sed 's/./& /g'); do
    dialogs=$dialogs,$world/dialogs/d$k.jsonl,$world/base/mix$k.jsonl
  done
  prepare "$arm" "${dialogs#,}"
  train "$arm" "$arm" --config.model.init_from="$out/runs/$base"
done

for arm in $arms; do
  model=$arm
  test "$arm" = base && model=$base
  $python -m evals.sample --config=configs/eval_minimix.py --config.catalog="$world/catalog" --config.seed="$seed" \
    --config.ks="$ks" --config.num_combinations="$combinations" --config.settings="$settings" \
    --run="$out/evals/$arm" --student="checkpoint:$out/runs/$model" --dtype=float32
  $python -m evals.grade --run="$out/evals/$arm" --grader=exact
done
