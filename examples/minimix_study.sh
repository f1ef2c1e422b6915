#!/bin/sh
# Goes on with the study of docs/results/minimix.md: runs the planned seeds that its table lacks, one after the other,
# and puts each into the table, the figure and the pages. Stop it at any time; the same call goes on.
#
#   examples/minimix_study.sh [FOLDER]     # where the runs go: runs/minimix
set -eu
runs=${1:-runs/minimix} table=docs/results/minimix.csv
export PYTHON="${PYTHON:-.venv/bin/python}"

lacks() {  # STUDY SEED
  ! grep -q "^$1,$2," "$table"
}

main_arms() {  # SEED
  examples/minimix.sh "$runs/seed-$1" "$1" 'D123 D1 D12 base' '(25,75,150,100,50)' 1,2,3,4,5 "('train','held_out')"
}

publish() {  # STUDY SEED [flags]
  study=$1 seed=$2
  shift 2
  $PYTHON -m evals.minimix.record --seed="$runs/seed-$seed" --study="$study" --table="$table" "$@"
  $PYTHON -m evals.minimix.findings --table="$table" --figure=docs/results/minimix.svg \
    --pages=docs/results/minimix.md,README.md
}

for seed in 20 21 22 23 24 25 26 27; do
  lacks main "$seed" || continue
  start=$(date +%s)
  if main_arms "$seed"; then
    publish main "$seed" --seconds=$(($(date +%s) - start))
  else
    echo "seed $seed did not end: a base that does not copy is reported and left out, all else is run again" >&2
  fi
done

for seed in 20 21 22 23; do
  lacks one-sentence "$seed" || lacks apart "$seed" || continue
  main_arms "$seed" && examples/minimix_science.sh "$runs/seed-$seed" "$seed"
  publish one-sentence "$seed"
  publish apart "$seed"
done
