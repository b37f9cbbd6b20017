#!/usr/bin/env bash
# Trains small diffusion transformers on real pictures: without REPA, with it, and with it and two of its follow-ups. Looks
# at all on the way: the same noise at several steps of training, and how far samples are from the training pictures, judged
# by a network that none was aligned to.
#
#     npm run quickstart                    about five minutes on two cores, in ./quickstart
#     npm run quickstart -- --quick         about half of that, for rougher pictures
#     npm run quickstart -- FOLDER          somewhere else
#
# Stopped, it goes on where it was when it is run again.
set -euo pipefail

steps=800 every=200 folder=quickstart
for argument in "$@"; do
  case $argument in
    --quick) steps=300 every=100 ;;
    -*)
      echo "usage: $0 [--quick] [FOLDER]" >&2
      exit 2
      ;;
    *) folder=$argument ;;
  esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ ! -e "$root/dist/src/main.js" ]; then
  echo "repa is not built yet: run npm ci && npm run build first" >&2
  exit 66
fi
mkdir -p "$folder"
cd "$folder"

repa() { node "$root/bin/repa.js" "$@"; }

# show COMMAND...: prints a command line; run COMMAND...: and runs it.
show() { printf '\n$ %s\n' "$*" >&2; }
run() {
  show "$@"
  "$@"
}

# make FILE INPUT COMMAND...: runs a command that writes FILE, unless that is newer than INPUT.
make() {
  local file=$1 input=$2
  shift 2
  if [ -e "$file" ] && [ ! "$input" -nt "$file" ]; then return; fi
  run "$@"
}

# What the commands below have in common; repa reads it from the working folder.
cat > repa.toml << TOML
[encode-vae]
vae = "emoji-vae"        # ships with repa: 64 pixels become 8 x 8 latents of 8 channels
size = 64

[extract-dino]
encoder = "emoji-cnn"    # ships with repa: 4 x 4 tokens, as many as the model has

[train]
model = "SiT-S/2"
depth = 6
width = 192
heads = 4
align-depth = 3
projector-dim = 256
batch-size = 32
steps = $steps
lr = 4e-3
warmup = 100
ema = 0.99
save-every = $every
eval-every = $every      # pictures, and the distance of 200 samples, in the log
eval-ref = "imgs"
eval-net = "emoji-vit"   # the judge: another network, trained for another aim
eval-num = 200
eval-steps = 15
eval-cfg = 1.5
TOML

if [ ! -e imgs ]; then
  run node "$root/dist/examples/emoji-images.js" imgs.part
  mv imgs.part imgs
fi
make latents imgs repa encode-vae imgs -o latents
make feats imgs repa extract-dino imgs -o feats

run repa train --lambda 0 --out without > /dev/null
run repa train --lambda 2 --out with-repa > /dev/null
# the blocks and times of LightningDiT, and the term of Delta-FM, which pushes off the velocities of other pictures
run repa train --lambda 2 --preset lightning-dit --contrastive 0.05 --out with-more > /dev/null

run repa plot with-more with-repa without --film -o film.png
compare=(plot with-more with-repa without --field 'FD(emoji-vit)' --log y --speed-up without -o distance.png)
show repa "${compare[@]}"
repa "${compare[@]}" 2> speed-up.txt
run repa report with-more with-repa without --picture distance.png --title 'With REPA and without' -o report.html

# last FIELD RUN: the last number of a run's log under that name.
last() {
  node -e 'const [field, run] = process.argv.slice(1);
    const lines = require("fs").readFileSync(`${run}/log.ndjson`, "utf8").trim().split("\n").map((line) => JSON.parse(line));
    console.log(lines.findLast((line) => typeof line[field] === "number")[field].toPrecision(3))' "$@"
}

cat >&2 << SUMMARY

After $steps steps on the same pictures, samples are at FD(emoji-vit) $(last 'FD(emoji-vit)' without) without REPA, $(last 'FD(emoji-vit)' with-repa) with it, $(last 'FD(emoji-vit)' with-more) with LightningDiT and Delta-FM too.
$(cat speed-up.txt)
The pictures at several steps, the curves and all settings are on the page $PWD/report.html
SUMMARY
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && [ -t 2 ] && command -v xdg-open > /dev/null; then
  xdg-open report.html > /dev/null 2>&1 &
elif [ -t 2 ] && [ "$(uname)" = Darwin ]; then
  open report.html
fi
