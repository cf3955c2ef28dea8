#!/bin/bash
# A sweep as one Slurm job over several nodes: the processes find each other by jax.distributed,
# and the first draws figures and report when all are done. From the project's folder:
#
#   sbatch --nodes=4 launch/slurm_multihost.sh configs/cifar_resnet.py runs/cifar_resnet
#SBATCH --job-name=flatvol
#SBATCH --ntasks-per-node=1        # a process a node, all its GPUs to it
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -u
config=$1 workdir=$2
shift 2
export JAX_COMPILATION_CACHE_DIR="$workdir/compiled"

# --kill-on-bad-exit=0: a process that stopped lets the others come to their safe points.
srun --kill-on-bad-exit=0 .venv/bin/python -m experiments.attack_sweep \
    --multihost --config="$config" --workdir="$workdir" "$@"
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
