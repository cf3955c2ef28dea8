#!/bin/bash
# A sweep on all workers of a TPU VM or pod slice. From your machine, with gcloud set up:
#
#   export REPOSITORY=...            the address from which the workers clone this project
#   launch/tpu_vm.sh my-tpu us-central2-b gs://my-bucket/cifar_resnet configs/cifar_resnet.py
#
# Run it again after a preemption: it resumes. Workers write to one bucket; EP and what else needs
# float64 runs on each worker's CPU, training on its TPU.
set -eu
name=$1 zone=$2 workdir=$3 config=$4
shift 4
: "${REPOSITORY:?set it to the address from which the workers clone this project}"

on_all_workers() {
    gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"
}

on_all_workers "test -d flatvol_jax || git clone $REPOSITORY flatvol_jax
    cd flatvol_jax && make install PYTHON=${PYTHON:-python3.11}
    .venv/bin/python -m pip install --quiet -e '.[tpu,gcs]'"
on_all_workers "cd flatvol_jax && .venv/bin/python -m experiments.attack_sweep \
    --multihost --config=$config --workdir=$workdir $*"
