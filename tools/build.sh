#!/bin/sh
# tools/build.sh DIR [MESON OPTION]...  Configure DIR once, build it, link the programs
#
# Afterwards DIR/media-dispatcher, DIR/media-relay and DIR/mediaproxy are there,
# whatever folder of the build they lie in.
set -eu

cd "$(dirname "$0")/.."
dir=$1
shift

if [ ! -e "$dir/build.ninja" ]; then
	meson setup "$dir" "$@"
fi
# As many faults as there are, not the first alone.
ninja -k 0 -C "$dir"

for program in src/dispatcher/media-dispatcher src/relay/media-relay \
	src/ctl/mediaproxy; do
	ln -sfn "$program" "$dir/${program##*/}"
done
