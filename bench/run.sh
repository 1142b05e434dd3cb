#!/bin/sh
# bench/run.sh [BUILD]  Every benchmark of this folder, one after the other; they report only
set -eu

cd "$(dirname "$0")/.."
for bench in bench/*.py; do
	echo "== $bench"
	"$bench" --build "${1:-build}"
done
