#!/usr/bin/env bash
# Makes the record: trains the settings of settings.txt on one set of images, each with one or more seeds, judges them on the
# way, and gathers every number in record.ndjson, with a table of how much sooner each reaches what the plain model has last.
#
#     examples/record/run.sh                             on emoji, in ./record-emoji
#     examples/record/run.sh --set DIR                   on DIR/train and DIR/val, one folder a class in each
#     examples/record/run.sh --only 'plain repa' --seeds '0 1 2' --steps 4000
#     examples/record/run.sh --set DIR --vae taef2 --encoder e.onnx --encoder-options '--output feat14 --normalise signed' \
#         --judge j.onnx --judge-options '--eval-net-output feat7 --eval-net-normalise signed'
#
# Several may work in one folder, on other settings or seeds each. Stopped, it goes on where it was when it is run again with the same options; more seeds or settings are added to what is
# there. Nothing is deleted. REPA_THREADS sets the threads.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
set= out= only= seeds=0 steps=2000 every=250 samples=500
vae=emoji-vae vae_options= decoder_options= size=64 classes=9
encoder=emoji-cnn encoder_options= judge=emoji-vit judge_options=
while [ $# -gt 0 ]; do
  case $1 in
    --set) set=$2 ;;
    --out) out=$2 ;;
    --only) only=$2 ;;
    --seeds) seeds=$2 ;;
    --steps) steps=$2 ;;
    --every) every=$2 ;;
    --samples) samples=$2 ;;
    --size) size=$2 ;;
    --vae) vae=$2 ;;
    --vae-options) vae_options=$2 ;;
    --decoder-options) decoder_options=$2 ;;
    --encoder) encoder=$2 ;;
    --encoder-options) encoder_options=$2 ;;
    --judge) judge=$2 ;;
    --judge-options) judge_options=$2 ;;
    *)
      sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
  shift 2
done
out=${out:-record-$(basename "${set:-emoji}")}
set=${set:+$(realpath "$set")}
threads=(--threads "${REPA_THREADS:-2}")
mkdir -p "$out"
cd "$out"
repa() { node "$root/bin/repa.js" "$@"; }

# once FILE COMMAND...: runs a command that writes FILE, unless that is there.
once() {
  local file=$1
  shift
  [ -e "$file" ] || { echo "$ $*" >&2; "$@"; }
}

if [ -z "$set" ]; then
  set=$PWD/images
  if [ ! -e images ]; then
    node "$root/dist/examples/emoji-images.js" --split "images.$$"
    if [ -e images ]; then rm -r "images.$$"; else mv "images.$$" images; fi # another one of these may have been sooner
  fi
fi
for part in train val; do
  # shellcheck disable=SC2086 # options are words
  once "latents-$part" repa encode-vae "$set/$part" --vae "$vae" $vae_options --size "$size" -o "latents-$part" "${threads[@]}"
  # shellcheck disable=SC2086
  once "feats-$part" repa extract-dino "$set/$part" --encoder "$encoder" $encoder_options -o "feats-$part" "${threads[@]}"
done
# A control: each picture with the features of another. The order of the files is turned by half of them.
shuffle() {
  [ ! -e feats-shuffled ] || return 0
  node "$here/shuffle.mjs" "$set/train" shuffled-images
  # shellcheck disable=SC2086
  repa extract-dino shuffled-images --encoder "$encoder" $encoder_options -o feats-shuffled "${threads[@]}"
}
# Another: the features of the same network with random weights. It has to be an ONNX file, as emoji-cnn is.
random() {
  [ ! -e feats-random ] || return 0
  local network=$encoder
  [ "$encoder" != emoji-cnn ] || network=$root/dist/src/assets/emoji-cnn.onnx
  once random.onnx node "$root/dist/examples/random-weights.js" "$network" random.onnx
  # shellcheck disable=SC2086
  repa extract-dino "$set/train" --encoder random.onnx $encoder_options -o feats-random "${threads[@]}"
}

# train NAME SEED OPTIONS...
train() {
  local name=$1 seed=$2
  shift 2
  local feats=feats-train
  if [[ $name == *shuffled* ]]; then
    shuffle
    feats=feats-shuffled
  elif [[ $name == *random* ]]; then
    random
    feats=feats-random
  fi
  # shellcheck disable=SC2086
  repa train --latents latents-train --feats $feats --out "$name-seed$seed" --seed "$seed" \
    --model SiT-S/2 --depth 6 --width 192 --heads 4 --align-depth 3 --projector-dim 256 --num-classes "$classes" \
    --batch-size 32 --lr 1e-3 --warmup 100 --ema 0.995 --steps "$steps" --save-every "$every" --keep 1 \
    --eval-every "$every" --eval-ref "$set/train" --eval-net "$judge" $judge_options $decoder_options --eval-num "$samples" \
    --eval-steps 25 --val-latents latents-val --val-feats feats-val "${threads[@]}" "$@" > /dev/null
}

classes=$(find "$set/train/" -mindepth 1 -maxdepth 1 -type d | wc -l)
while read -r name options; do
  [[ -n $name && $name != '#'* ]] || continue
  [[ -z $only || " $only " == *" $name "* ]] || continue
  for seed in $seeds; do
    # shellcheck disable=SC2086
    train "$name" "$seed" $options
    node "$here/gather.mjs" . "$steps" > "table.$$" && mv "table.$$" table.md
  done
done < "$here/settings.txt"

# What the blocks know, of the last checkpoints of the first seed: figures 2 and 3 of the paper.
for run in plain-seed0 repa-seed0 repa-2-seed0; do
  [ -e "$run" ] || continue
  hidden=$run/hidden
  once "$hidden" repa extract-hidden --ckpt "$run" --latents latents-val --blocks all --t 0.1,0.3,0.5,0.7,0.9 --null-label \
    -o "$hidden" "${threads[@]}"
  once "$run/cknna.ndjson" sh -c "node '$root/bin/repa.js' cknna $hidden feats-val --json > $run/part.$$ && mv $run/part.$$ $run/cknna.ndjson"
  once "$run/probe.ndjson" sh -c "node '$root/bin/repa.js' probe --train $hidden --metric knn --json > $run/part.$$ && mv $run/part.$$ $run/probe.ndjson"
done
cat table.md
