#!/bin/bash
# A training on all hosts of a TPU slice, begun again until it is finished:
#
#     TPU=NAME ZONE=us-central2-b cluster/tpu_pod.sh --config configs/cars196_abe.py --workdir /shared/runs/cars
#
# Everything behind the name is what abe_jax.train takes. On every host FOLDER (default ~/abe_jax)
# holds this project with its environment in .venv, and the work folder is one that all hosts see.
# docs/CLUSTER.md leads through it.
set -u
: "${TPU:?the name of the TPU}" "${ZONE:?its zone}"
FOLDER=${FOLDER:-'~/abe_jax'}
RESTARTS=${RESTARTS:-100} # a training that ended so often before its end is not begun again
PAUSE=${PAUSE:-60}        # seconds before it is

# JAX finds the hosts of a slice by itself. SIGTERM and a lost connection are what a slice has that
# is taken away: 75 is the status of a training that saved, 255 that of ssh.
command="cd $FOLDER && .venv/bin/python -m abe_jax.train --hosts$(printf ' %q' "$@")"
for ((try = 0; try <= RESTARTS; try++)); do
    gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$command"
    status=$?
    case $status in
        # Finished; a mistake or a fault that another try would make again; Ctrl-C.
        0 | 1 | 2 | 130) exit "$status" ;;
    esac
    echo "$(date '+%F %T') ended with status $status; again in $PAUSE s" >&2
    sleep "$PAUSE"
done
exit "$status"
