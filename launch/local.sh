#!/usr/bin/env bash
# Runs a command in several processes on this machine's CPU: to see what a cluster will do. Exit code: process 0's.
#
#   launch/local.sh 4 skillmix_jax.train --config=configs/tiny.py --workdir=runs/four
#
# Change by variables: DEVICES (of each process), PORT, PYTHON.
set -euo pipefail

if (($# < 2)); then
  echo 'error: launch/local.sh NUM_PROCESSES MODULE [flags], as in the example at its head' >&2
  exit 2
fi
export JAX_PLATFORMS=cpu
export JAX_NUM_CPU_DEVICES=${DEVICES:-1}
export JAX_COORDINATOR_ADDRESS=127.0.0.1:${PORT:-51515}
export JAX_NUM_PROCESSES=$1
PYTHON=${PYTHON:-.venv/bin/python}

for ((i = 1; i < $1; i++)); do
  (trap - INT; JAX_PROCESS_ID=$i exec "$PYTHON" -m "${@:2}") & # bash lets what is in the background ignore Ctrl-C
done
JAX_PROCESS_ID=0 exec "$PYTHON" -m "${@:2}"
