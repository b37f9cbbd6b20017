#!/usr/bin/env bash
# ImageNet 256 with REPA on a Slurm cluster: encode in an array of 64 jobs, then train and measure.
#
#   sbatch --array=0-63 imagenet-slurm.sh encode
#   sbatch --nodes=4 --ntasks-per-node=8 imagenet-slurm.sh train
#   sbatch --array=0-15 imagenet-slurm.sh sample
#   sbatch imagenet-slurm.sh measure
#
# Parts that are finished are skipped: submit a stage again to fill in what failed. --shard comes from the array by itself.
set -euo pipefail
data=${IMAGENET:?the folder with the training images, one folder a class}

case $1 in
encode)
  repa encode-vae "$data" --vae sd-vae-ft-ema -o latents/
  repa extract-dino "$data" --encoder dinov2-vit-b -o feats/
  ;;
train)
  srun --mpi=pmix repa train --latents latents/ --feats feats/ --model SiT-XL/2 --lambda 0.5 --align-depth 8 --micro-batch 8
  ;;
sample)
  repa sample --mode sde --steps 250 --cfg 1.8 --guidance-high 0.7 --num 50000 -o samples/
  ;;
measure)
  repa fid samples/ --ref VIRTUAL_imagenet256_labeled.npz --metrics fid,sfid,is,pr --json
  ;;
esac
