#!/bin/sh
# Builds and runs the test of the products, with AMX by a model of it; given `sanitize`, also as they are built for use,
# and under sanitizers.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -r "$out"' EXIT
sources="level.c pack.c kernel-512.c kernel-amx.c finish.c gemm.c"
flags="-std=gnu11 -Wall -Wextra -Wconversion -Wno-sign-conversion -Werror -pthread"
run() {
  # shellcheck disable=SC2086 # lists of words
  "${CC:-cc}" $flags "$@" -o "$out/test" test/gemm.test.c $sources -lm
  "$out/test"
}
run -O2 -DREPA_EMULATE_AMX
[ "${1-}" = sanitize ] || exit 0
run -O3
run -O1 -g -DREPA_EMULATE_AMX -fsanitize=address,undefined -fno-sanitize-recover=all
