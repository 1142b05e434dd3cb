#!/bin/sh
# tools/lint.sh  clang-tidy (.clang-tidy) and cppcheck over the sources; ends clean or with 1
set -eu

cd "$(dirname "$0")/.."
build=build-clang

if [ ! -e "$build/build.ninja" ]; then
	CC=clang meson setup "$build" -Dwerror=true
fi
# Generated headers have to be there.
ninja -C "$build"

status=0
sources=$(git ls-files 'src/*.c')

echo "clang-tidy"
echo "$sources" | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "$build" \
	2>/dev/null || status=1

echo "cppcheck"
cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr \
	-j "$(nproc)" -I src -I "$build" \
	--enable=warning,performance,portability \
	--suppressions-list=tools/cppcheck.txt $sources || status=1

exit "$status"
