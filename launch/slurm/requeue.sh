# For the .sbatch files next to it: requeue FOLDER PROGRESS queues this job again, but not for ever.
#
# PROGRESS is a text that changes whenever the job gets on, such as its newest checkpoint. FOLDER/requeues.log keeps it. A
# job that was queued again five times at the same PROGRESS stops; so does one that was queued again 100 times.
# shellcheck shell=bash

requeue() {
  local line="job $SLURM_JOB_ID at $2"
  mkdir -p "$1"
  echo "$line" >> "$1/requeues.log"
  if (($(grep -cxF "$line" "$1/requeues.log") > 5 || ${SLURM_RESTART_COUNT:-0} >= 100)); then
    echo "error: $line does not get on and is not queued again: what is above says why; then submit it anew" >&2
  else
    scontrol requeue "$SLURM_JOB_ID"
  fi
}
