#!/bin/bash
#SBATCH --job-name=abe_jax
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@300
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out

# A training on one node or on many, which goes on until it is finished. From the folder in which
# `python -m abe_jax.train` works, with its environment active:
#
#     sbatch cluster/slurm.sh --config configs/cars196_abe.py --workdir /shared/runs/cars
#     sbatch --nodes=4 --gpus-per-node=8 cluster/slurm.sh --config ... --workdir ...
#
# Options of sbatch stand before the script and override the lines above; what stands behind it is
# what abe_jax.train takes. docs/CLUSTER.md leads through it.

# Seconds after SLURM's warning, USR1 300 s before the end, in which all should save.
LEFT=${ABE_JAX_LEFT:-240}
# A job that was requeued so often is not requeued again.
RESTARTS=${ABE_JAX_RESTARTS:-100}
# Nor is one that came back so often without a new checkpoint: what ends it will end it again.
IDLE=${ABE_JAX_IDLE:-5}
# Seconds after the end of the first process in which all others end.
WAIT=${ABE_JAX_WAIT:-120}

say() { echo "$(date '+%F %T') $*"; }

requeue() { # after a reason
    if ((${SLURM_RESTART_COUNT:-0} >= RESTARTS)); then
        say "not requeued, after $RESTARTS restarts: $1"
        exit 1
    fi
    say "requeued: $1"
    scontrol requeue "$SLURM_JOB_ID"
    exit 75
}

workdir=
before=
for word in "$@"; do
    [[ $before == --workdir ]] && workdir=$word
    [[ $word == --workdir=* ]] && workdir=${word#--workdir=}
    before=$word
done

last() { # the step of the last checkpoint; 0 without any
    local found
    found=$(ls "$workdir/checkpoints/latest" 2>/dev/null | grep -x '[0-9][0-9]*' | sort -n | tail -n 1)
    echo "${found:-0}"
}

idle() { # whether it has come back IDLE times since it saved a checkpoint; counted in the work folder
    [[ -n $workdir ]] || return 1
    local file=$workdir/.restarts job= at= times=0 now
    now=$(last)
    [[ -f $file ]] && read -r job at times <"$file"
    if [[ $job == "$SLURM_JOB_ID" && $at == "$now" ]]; then times=$((times + 1)); else times=0; fi
    mkdir -p "$workdir" && echo "$SLURM_JOB_ID $now $times" >"$file"
    ((times >= IDLE))
}

retry() { # as requeue, if it gets further
    if idle; then
        say "not requeued, after $IDLE restarts without a new checkpoint: $1"
        exit 1
    fi
    requeue "$1"
}

# SLURM warns this script alone, which asks the processes on all nodes to save.
deadline=
warned() {
    say "the time is nearly over: asking the processes to save"
    scancel --signal=TERM "$SLURM_JOB_ID" # its steps, not this script
    deadline=$((SECONDS + LEFT))
}
trap warned USR1

# A preemption, a requeue or a cancellation: SLURM asks the processes itself, waits for KillWait of
# slurm.conf, and then requeues the job or not. A job that its owner cancels must not come back.
taken=false
trap 'taken=true' TERM

# Under SLURM JAX takes one GPU for each process, unless it is told of all of the node's.
if [[ -n ${SLURM_GPUS_ON_NODE:-} && ${SLURM_NTASKS_PER_NODE:-1} == 1 ]]; then
    export JAX_LOCAL_DEVICE_IDS=${JAX_LOCAL_DEVICE_IDS:-$(seq -s, 0 $((SLURM_GPUS_ON_NODE - 1)))}
fi

# srun does not take over what sbatch was told of CPUs (since SLURM 22.05): one would be left.
if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then
    export SRUN_CPUS_PER_TASK=${SRUN_CPUS_PER_TASK:-$SLURM_CPUS_PER_TASK}
fi

say "job $SLURM_JOB_ID on $SLURM_JOB_NODELIST, restart ${SLURM_RESTART_COUNT:-0}"
# A process that ends takes no others with it at once: they may still be saving, or be about to say
# who is gone, which takes them a minute. One that is frozen never ends by itself: srun kills it.
srun --kill-on-bad-exit=0 --wait="$WAIT" --label python -m abe_jax.train --hosts "$@" &
step=$!
while kill -0 "$step" 2>/dev/null; do
    if [[ -n $deadline ]] && ((SECONDS >= deadline)); then # in a long evaluation, say
        retry "some process had not ended $LEFT s later"
    fi
    sleep 1 &
    wait $! # which a signal ends at once
done
wait "$step"
status=$?

if $taken; then
    say "ended with status $status, taken off by SLURM"
    exit "$status"
fi
case $status in
    75) retry "all saved when asked to stop, or a host is gone" ;;
    138 | 143) requeue "a signal came before the training had begun" ;;
    134 | 135 | 137 | 139 | 141) retry "a process died (status $status)" ;;
esac
say "ended with status $status"
exit "$status"
