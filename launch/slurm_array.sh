#!/bin/bash
# A sweep as a Slurm array: every task does its share and asks nobody. From the project's folder:
#
#   sbatch --array=0-7 launch/slurm_array.sh configs/cifar_resnet.py runs/cifar_resnet
#   sbatch --dependency=afterok:JOBID launch/slurm_array.sh configs/cifar_resnet.py runs/cifar_resnet
#
# The second job, without --array, finds everything done and draws figures and report. The workdir
# must be on a file system that all nodes see.
#SBATCH --job-name=flatvol
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120          # two minutes before the time is over: stop at a safe point
#SBATCH --requeue                  # after a preemption the same task begins again, and resumes
#SBATCH --open-mode=append
set -u
config=$1 workdir=$2
shift 2
shard=()
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    shard=(--shard="$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN))/$SLURM_ARRAY_TASK_COUNT")
fi

# Programs compiled by one task are read by the others.
export JAX_COMPILATION_CACHE_DIR="$workdir/compiled"

srun --ntasks=1 .venv/bin/python -m experiments.attack_sweep \
    --config="$config" --workdir="$workdir" "${shard[@]}" "$@"
code=$?
if [ "$code" -eq 75 ]; then        # stopped by SIGTERM; the same command goes on
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
