#!/bin/sh
# Two variants of the toy experiment, for one finished seed of it (its base, D1 and D12 are taken from there). As minimix.sh, it
# goes on where it stopped.
#
#   examples/minimix_science.sh runs/minimix/seed-20 20
#   examples/minimix_science.sh OF SEED [NUM_COMBINATIONS]
set -eu
of=$1 seed=$2 combinations=${3:-'(25,75,150,100,50)'}

variant() {  # NAME ARMS WORLD_FLAG SETTINGS
  WORLD_FLAGS="$3 ${WORLD_FLAGS:-}" examples/minimix.sh "$of/$1" "$seed" "$2" "$combinations" 1,2,3,4,5 "$4"
}

same() {  # NAME WHAT...: of the finished seed
  folder=$of/$1
  shift
  mkdir -p "$folder/data" "$folder/runs"
  for what in "$@"; do
    if [ -e "$of/$what" ]; then ln -sfn "../../$what" "$folder/$what"; fi
  done
}

# All k skills in one sentence: how deep a model composes, apart from how many sentences it keeps track of. The dialogs
# of D(1) and D(2) are the same, and so is what the base reads.
same one-sentence data/base runs/base runs/base-more data/D1 runs/D1 data/D12 runs/D12
variant one-sentence 'D123 D1 D12' --one_sentence "('train','held_out')"

# No sentence that the base reads has two held-out skills: what is composed then was combined nowhere
variant apart 'D123 D1' --apart "('held_out',)"
