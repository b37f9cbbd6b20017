#!/usr/bin/env bash
# Trains two small diffusion transformers on real pictures, one with REPA and one without, samples both and measures them.
#
#     npm run quickstart                    about six minutes on two cores, in ./quickstart
#     npm run quickstart -- --quick         about two minutes, for blurred pictures
#     npm run quickstart -- FOLDER          somewhere else
#
# Stopped, it goes on where it was when it is run again.
set -euo pipefail

steps=700 samples=225 folder=quickstart
for argument in "$@"; do
  case $argument in
    --quick) steps=150 samples=100 ;;
    -*)
      echo "usage: $0 [--quick] [FOLDER]" >&2
      exit 2
      ;;
    *) folder=$argument ;;
  esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ ! -e "$root/dist/src/main.js" ]; then
  echo "repa is not built yet: run npm run build first" >&2
  exit 66
fi
mkdir -p "$folder"
cd "$folder"

repa() { node "$root/bin/repa.js" "$@"; }

# show LINE: prints a command line before it runs.
show() { printf '\n$ %s\n' "$1" >&2; }

# is_newer FILE INPUT: whether FILE was made from INPUT as it is now.
is_newer() { [ -e "$1" ] && [ ! "$2" -nt "$1" ]; }

# make FILE INPUT COMMAND...: runs a command that writes FILE, unless that is newer than INPUT.
make() {
  local file=$1 input=$2
  shift 2
  is_newer "$file" "$input" && return
  show "$*"
  "$@"
}

# keep FILE INPUT COMMAND...: the same for a command that prints what FILE is to hold.
keep() {
  local file=$1 input=$2
  shift 2
  is_newer "$file" "$input" && return
  show "$* > $file"
  "$@" > "$file.part"
  mv "$file.part" "$file"
}

# What the commands below have in common; repa reads it from the working folder.
cat > repa.toml << TOML
[encode-vae]
vae = "pixels"           # pictures this small are diffused as they are
size = 32

[extract-dino]
encoder = "emoji-vit"    # 8 x 8 tokens, as many as the model has

[train]
model = "SiT-S/4"
depth = 10
width = 128
projector-dim = 256
batch-size = 32
steps = $steps
lr = 1e-3
warmup = 100
ema = 0.995
save-every = 50

[sample]
num = $samples
labels = "balanced"
steps = 30

[fid]
net = "emoji-vit"
TOML

if [ ! -e imgs ]; then
  show 'node dist/examples/emoji-images.js imgs'
  node "$root/dist/examples/emoji-images.js" imgs.part
  mv imgs.part imgs
fi
make latents imgs repa encode-vae imgs -o latents
make feats imgs repa extract-dino imgs -o feats

show 'repa train --lambda 0.5 --align-depth 8'
repa train --lambda 0.5 --align-depth 8 > /dev/null
show 'repa train --lambda 0 --align-depth 8 --out ckpt-plain'
repa train --lambda 0 --align-depth 8 --out ckpt-plain > /dev/null

for run in ckpt ckpt-plain; do
  log=$run/log.ndjson
  make "$run.png" "$log" repa sample --ckpt "$run" --cfg 1.8 --grid "$run.png" -o "$run.samples"
  keep "$run.fd.json" "$run.samples" repa fid "$run.samples" --json
  make "$run.hidden" "$log" repa extract-hidden --ckpt "$run" --blocks all --null-label -o "$run.hidden"
  keep "$run.cknna.json" "$run.hidden" repa cknna "$run.hidden" feats --json
done
make loss.png ckpt-plain/log.ndjson repa plot ckpt ckpt-plain --smooth 5 -o loss.png

# values FILE: the numbers in a file of results, one a line of it.
values() {
  node -e 'for (const line of require("fs").readFileSync(process.argv[1], "utf8").trim().split("\n"))
    console.log(JSON.parse(line).value.toFixed(2))' "$1" | paste -sd ' '
}

cat >&2 << SUMMARY

Both models trained for $steps steps from the same start on the same pictures; only lambda differed. In $PWD:

  ckpt.png         samples with REPA: each column is a class (faces, flags, people, shapes, signs)
  ckpt-plain.png   samples without, from the same noise
  loss.png         the velocity loss of both

  FD(emoji-vit) to the training pictures, lower is better (not FID: that is another network, and 50000 samples)
    with REPA      $(values ckpt.fd.json)
    without        $(values ckpt-plain.fd.json)
  CKNNA of blocks 1 to 10 with the encoder's features
    with REPA      $(values ckpt.cknna.json)
    without        $(values ckpt-plain.cknna.json)

Go on in that folder, with repa standing for $root/bin/repa.js (npm link puts it on the path):

  repa sample --cfg 1.8 | repa fid
  repa train --lambda 0.5 --align-depth 8 --steps 5000     # goes on from step $steps
SUMMARY
