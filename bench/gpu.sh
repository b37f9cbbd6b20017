#!/usr/bin/env bash
# Measures repa on the accelerators of a bare machine: it needs this folder (built: dist/), a Node binary on the PATH and a
# PJRT plugin. PyTorch is compared where the machine's python3 has it. Takes a few minutes; writes to stdout.
#
#     bench/gpu.sh                            the first plugin that is installed
#     REPA_PJRT_PLUGIN=FILE bench/gpu.sh
#     MODELS='SiT-S/2' BATCH=2 STEPS=2 bench/gpu.sh      smaller, for a dry run on a plugin of the CPU
#
#     bench/gpu.sh --pack FILE.tar.xz      what such a machine needs besides the plugin, Node among it, in one file of 55 MB:
#                                          tar xJf FILE.tar.xz && PATH=$PWD:$PATH bench/gpu.sh
#
# What it prints: `== PART (SECONDS)`, the seconds since it began. Of doctor, what works and the GFLOPS of products of 1024 x 1024.
# Of parity, the largest difference from the processor's engine, relative to the largest number. Of a step, the median of those
# behind the first; the first, with its compilation; and the most memory in use, of the device where the plugin (or PyTorch)
# counts it, else of the process. PyTorch runs the same step: as it is, and with torch.compile. What fails says so, and the rest goes on.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = --pack ]; then
  packed=$(mktemp -d)
  trap 'rm -rf "$packed"' EXIT
  mkdir "$packed/repa"
  cp "$(command -v node)" package.json "$packed/repa"
  cp -r bin dist bench "$packed/repa"
  installed=$(dirname "$(realpath node_modules)")
  { cd "$installed" && npm ls --omit=dev --all --parseable 2> /dev/null || true; } | sed -n "s|^$installed/||p" |
    tar -c -C "$installed" --exclude='*.map' --exclude='*/darwin*' --exclude='*/win32*' --exclude='*/arm64*' -T - |
    tar -x -C "$packed/repa"
  strip "$packed/repa/node" 2> /dev/null || true
  tar -c -C "$packed" repa | xz -3 > "$2"
  exit
fi

models=${MODELS:-SiT-S/2 SiT-B/2 SiT-XL/2}
batch=${BATCH:-32}
steps=${STEPS:-10}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
repa() { node bin/repa.js "$@"; }
part() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

part doctor
repa doctor || true

part parity with the engine of the processor
node dist/bench/parity.js || echo 'parity: failed'

# One line for each step that is asked for, the first with the compilation; the median of the others is told.
median() {
  node -e '
    const lines = require("fs").readFileSync(0, "utf8").trim().split("\n").map((line) => JSON.parse(line));
    const later = lines.slice(1).map(({ milliseconds }) => milliseconds).sort((a, b) => a - b);
    const { deviceMiB, peakMiB } = lines.at(-1);
    const memory = deviceMiB === undefined ? `host ${peakMiB.toFixed(0)} MiB` : `device ${deviceMiB.toFixed(0)} MiB`;
    const first = (lines[0].milliseconds / 1000).toFixed(1);
    console.log(`${process.argv[1]}: ${later[later.length >> 1].toFixed(1)} ms, first ${first} s, ${memory}`);
  ' "$1"
}
asked() { for _ in $(seq $((steps + 1))); do echo step; done; }

torch=
python3 -c 'import torch' 2> /dev/null && torch=1
device=$([ -n "$torch" ] && python3 -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")' || true)

for model in $models; do
  part "training step of $model, batch $batch"
  for precision in bf16 f32; do
    asked | node dist/bench/train-step.js --model "$model" --batch "$batch" --backend xla --precision "$precision" |
      median "repa xla $precision" || echo "repa xla $precision: failed"
    [ -n "$torch" ] || continue
    flag=$([ "$precision" = bf16 ] && echo --bf16 || true)
    for compile in '' --compile; do
      asked | python3 bench/torch_train_step.py --model "$model" --batch "$batch" --device "$device" $flag $compile |
        median "PyTorch $device $precision $compile" || echo "PyTorch $precision $compile: failed"
    done
  done
done

for model in $models; do
  part "sampling step of $model with guidance, batch $batch"
  size=${model#SiT-} size=${size%/*}
  for precision in bf16 f32; do
    asked | node dist/bench/network.js --network sample --model "$size" --batch "$batch" --backend xla \
      --precision "$precision" | median "repa xla $precision" || echo "repa xla $precision: failed"
    [ -n "$torch" ] || continue
    flag=$([ "$precision" = bf16 ] && echo --bf16 || true)
    for compile in '' --compile; do
      asked | python3 bench/torch_network.py --network sample --model "$size" --batch "$batch" --device "$device" \
        $flag $compile | median "PyTorch $device $precision $compile" || echo "PyTorch $precision $compile: failed"
    done
  done
done
part done
