#!/usr/bin/env bash
# Trains on this machine and needs no terminal: it goes on when the ssh session ends. From the folder of the project:
#
#   launch/detached.sh train --config=configs/tiny.py   # starts it and shows what it says
#   launch/detached.sh log                              # shows it again
#   launch/detached.sh stop                             # saves and ends it
#
# Ctrl-C ends the showing alone. Exit code of train and log: that of the training. Its output is in .detached/log.
set -euo pipefail

PYTHON=${PYTHON:-.venv/bin/python}
mkdir -p .detached

case ${1:-} in
  train)
    if kill -0 -- "-$(cat .detached/pid)"; then
      echo 'error: it is training already: launch/detached.sh log' >&3
      exit 2
    fi 3>&2 2> /dev/null
    rm -f .detached/code
    setsid "$0" alone "${@:2}" > .detached/log 2>&1 < /dev/null &
    echo $! > .detached/pid
    ;&
  log)
    tail --pid="$(cat .detached/pid)" --sleep-interval=1 --lines=+1 -f .detached/log
    exit "$(cat .detached/code)"
    ;;
  stop) kill -TERM -- "-$(cat .detached/pid)" ;;
  alone)
    trap : TERM # python gets it, too, and saves
    code=0
    "$PYTHON" -m skillmix_jax.train "${@:2}" || code=$?
    echo $code > .detached/code
    ;;
  *)
    echo 'error: launch/detached.sh train|log|stop, see its head' >&2
    exit 2
    ;;
esac
