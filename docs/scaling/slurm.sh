#!/bin/bash
#SBATCH --job-name=viaduct
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-task=1
#SBATCH --time=24:00:00
#SBATCH --requeue
# A recipe on all nodes of a Slurm job:  sbatch slurm.sh RECIPE [OPTIONS OF viaduct run]
# `viaduct` (with the extra `cluster`), the data and the store lie on a file system that all nodes share. Sent again, or
# requeued, it goes on where it stopped.
set -euo pipefail

read -r head < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address="$head:$((20000 + SLURM_JOB_ID % 10000))" # other jobs may be on the same node
# Seconds that all nodes have to load Python from the shared file system and meet.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT="${RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT:-600}"
export RAY_USAGE_STATS_ENABLED=0

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=0 \
  ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --object-store-memory=500000000 \
  -- viaduct run "$@" --executor ray --address "$address"
