#!/bin/sh
# Builds and runs the tests of the products, with AMX by a model of it; given `sanitize`, also as they are built for use,
# and under sanitizers.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -r "$out"' EXIT
sources="level.c pack.c kernel-512.c kernel-amx.c finish.c scratch.c gemm.c attention.c convolution.c pool.c gelu.c norm.c"
flags="-std=gnu11 -Wall -Wextra -Wconversion -Wno-sign-conversion -Wno-unused-function -Werror -pthread"
run() {
  for file in $sources test/gemm.test.c test/attention.test.c test/convolution.test.c test/elementwise.test.c; do
    # shellcheck disable=SC2086 # lists of words
    "${CC:-cc}" $flags "$@" -c -o "$out/$(basename "$file" .c).o" "$file"
  done
  for test in gemm attention convolution elementwise; do
    objects=$(for file in $sources; do echo "$out/${file%.c}.o"; done)
    # shellcheck disable=SC2086
    "${CC:-cc}" "$@" -pthread -o "$out/test" "$out/$test.test.o" $objects -lm
    "$out/test"
  done
}
run -O2 -DREPA_EMULATE_AMX
[ "${1-}" = sanitize ] || exit 0
run -O3
run -O1 -g -DREPA_EMULATE_AMX -fsanitize=address,undefined -fno-sanitize-recover=all
