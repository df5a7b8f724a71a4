#!/usr/bin/env bash
# Benchmarks of REF against the working tree, alternating in one run, so that both
# meet the same neighbours: benchmarks/compare.sh REF BENCHSTAT [PACKAGE…]
set -euo pipefail
ref=${1:?usage: compare.sh REF BENCHSTAT [PACKAGE…]}
benchstat=$(realpath "${2:?usage: compare.sh REF BENCHSTAT [PACKAGE…]}")
shift 2
packages=("$@")
[ ${#packages[@]} -gt 0 ] || packages=(./verifycache ./routing ./policy ./http1gate ./handoff ./telemetry)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'git worktree remove --force "$work/old"; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/old" "$ref"
for round in 1 2 3 4 5 6 7 8 9 10; do
  echo "round $round of 10"
  (cd "$work/old" && go test -run '^$' -bench . -benchtime "${BENCHTIME:-200ms}" "${packages[@]}") >>"$work/old.txt"
  go test -run '^$' -bench . -benchtime "${BENCHTIME:-200ms}" "${packages[@]}" >>"$work/new.txt"
done
"$benchstat" "$ref=$work/old.txt" "tree=$work/new.txt"
