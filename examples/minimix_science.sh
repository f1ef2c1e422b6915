#!/bin/sh
# What the result of the toy experiment hangs on, for one finished seed of it (arms D1, D12 and D123): the same base and
# questions with one thing changed at a time. As minimix.sh, it goes on where it stopped.
#
#   examples/minimix_science.sh runs/minimix/seed-10 10
#   examples/minimix_science.sh OF SEED [NUM_COMBINATIONS]
set -eu
of=$1 seed=$2 combinations=${3:-50}

variant() {  # NAME ARMS WORLD_FLAG [flags of training]
  folder=$of/science/$1 arms=$2 world_flag=$3
  shift 3
  WORLD_FLAGS="$world_flag ${WORLD_FLAGS:-}" TRAIN_FLAGS="$* ${TRAIN_FLAGS:-}" \
    examples/minimix.sh "$folder" "$seed" "$arms" "$combinations" 2,3,4 "('train','held_out')"
}

same() {  # NAME WHAT...: of the finished seed
  folder=$of/science/$1
  shift
  mkdir -p "$folder/data" "$folder/runs"
  for what in "$@"; do
    case $what in */*) up=../../.. ;; *) up=../.. ;; esac
    ln -sfn "$up/$what" "$folder/$what"
  done
}

# Appendix D.2: a random 8,004 dialogs of D(1,2,3), those of k = 2 and 3 together fewer than the 6,200 of D(2)
same control data/base runs/base
variant control D123 --share=0.58

# D(1) read as often as D(1,2,3) is: 300 steps of 13,800 dialogs, 87 of 4,000
same epochs world data/base data/D1 runs/base
variant epochs D1 '' --config.steps=87

# The weight of the text beside the dialogs
for weight in 0 .1 1; do
  same text-$weight world data/base data/D123 runs/base
  variant text-$weight D123 '' --config.loss.kind=two_term --config.loss.text_weight=$weight
done

# Sentences with two skills in what the base reads: none to twice as many (.15) as in the experiment
variant pairs-0 'D123 D1' --pairs=0
for share in .05 .3; do
  variant pairs-$share D123 --pairs=$share
done
