#!/usr/bin/env bash
# A TPU slice of Google Cloud as a queued resource: one process a host, all hosts at once. From the folder of the project:
#
#   launch/tpu_vm.sh create                                # asks for the slice; state: launch/tpu_vm.sh state
#   launch/tpu_vm.sh setup                                 # once it is ACTIVE: copies this folder, installs
#   launch/tpu_vm.sh train --config=configs/llama13b.py:D12
#   launch/tpu_vm.sh log                                   # what it says, again; stop: saves and ends it
#   launch/tpu_vm.sh delete
#
# Training goes on when this terminal, or the connection, is gone (launch/detached.sh on each host).
#
# Change by variables: NAME, ZONE, TYPE, VERSION (v5p: v2-alpha-tpuv5, v5e: v2-alpha-tpuv5-lite, v6e: v2-alpha-tpuv6e,
# v4: tpu-ubuntu2204-base), SHARE (an NFS share such as Filestore: 10.0.0.2:/share), which holds data/, checkpoints/
# and runs/ for all hosts. A spot slice that is taken away: delete, create, setup, and the same train command continues.
set -euo pipefail

NAME=${NAME:-skillmix}
ZONE=${ZONE:-us-east5-a}
TYPE=${TYPE:-v5p-16}
VERSION=${VERSION:-v2-alpha-tpuv5}

tpu() { gcloud compute tpus "$@" --zone="$ZONE"; }
on_all_hosts() { tpu tpu-vm ssh "$NAME" --worker=all --command="$1"; }

case ${1:-} in
  create)
    tpu queued-resources create "$NAME" --node-id="$NAME" --accelerator-type="$TYPE" --runtime-version="$VERSION" --spot
    ;;
  state) tpu queued-resources describe "$NAME" --format='value(state.state)' ;;
  setup)
    git archive --format=tar.gz --output=/tmp/skillmix_jax.tar.gz HEAD
    tpu tpu-vm scp /tmp/skillmix_jax.tar.gz "$NAME": --worker=all
    on_all_hosts "mkdir -p skillmix_jax && tar -xzf skillmix_jax.tar.gz -C skillmix_jax &&
      sudo apt-get install -y nfs-common python3.11-venv && sudo mkdir -p /mnt/share &&
      sudo mount -t nfs ${SHARE:?an NFS share, host:/path} /mnt/share && cd skillmix_jax &&
      ln -sfn /mnt/share/data data && ln -sfn /mnt/share/checkpoints checkpoints && ln -sfn /mnt/share/runs runs &&
      make setup PYTHON=python3.11 && .venv/bin/pip install -e '.[tpu]'"
    ;;
  train | log | stop)
    printf -v arguments ' %q' "$@"
    on_all_hosts "cd skillmix_jax && SKILLMIX_HEARTBEAT_SECONDS=60 launch/detached.sh$arguments"
    ;;
  delete) tpu queued-resources delete "$NAME" --force --quiet ;;
  *)
    echo 'error: launch/tpu_vm.sh create|state|setup|train|log|stop|delete, see its head' >&2
    exit 2
    ;;
esac
