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

# One file a process: with several, clang-tidy 14 takes every va_list for uninitialized.
echo clang-tidy
echo "$sources" | xargs -P "$(nproc)" -n 1 clang-tidy --quiet -p "$build" \
	2>/dev/null || status=1

echo cppcheck
cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -j "$(nproc)" \
	-I src -I "$build" --suppressions-list=tools/cppcheck.txt \
	--enable=warning,performance,portability \
	-D'json_array_foreach(a,i,v)=for(i=0;(v=json_array_get(a,i));i++)' \
	-D'json_object_foreach(o,k,v)=for(k=first(o);(v=next(o,k));)' \
	$sources || status=1

exit "$status"
