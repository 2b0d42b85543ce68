#!/usr/bin/env bash
# Connections a second with the profiler on, divided by those without it, in interleaved pairs: the machine's speed
# drifts, and the two runs of a pair see the same drift. Prints every pair and the median.
set -euo pipefail
pairs=${1:-7} conns=${2:-150k}
rate() { ./connprof run --ips 20 --conns "$conns" --json -o /dev/null "$@" 2>/dev/null |
	awk -F'[:,]' '/"connects_per_second"/ { print $2 }'; }
for ((i = 1; i <= pairs; i++)); do
	# The order alternates, so that neither side always has the warmer machine.
	if ((i % 2)); then with=$(rate) without=$(rate --no-profile); else without=$(rate --no-profile) with=$(rate); fi
	awk -v i="$i" -v a="$with" -v b="$without" 'BEGIN { printf "pair %d: %.0f/s with, %.0f/s without: %.3f\n", i, a, b, a / b }'
done | tee /dev/stderr | awk '{ print $NF }' | sort -n |
	awk '{ r[NR] = $1 } END { m = (r[int((NR + 1) / 2)] + r[int(NR / 2) + 1]) / 2; printf "median of %d pairs: %.3f\n", NR, m }'
