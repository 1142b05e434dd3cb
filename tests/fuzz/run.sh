#!/bin/sh
# Fuzz every target for a while: tests/fuzz/run.sh SECONDS [TARGET...]
#
# Builds in build-fuzz/ (or $BUILD) with clang, AddressSanitizer and UBSan. New inputs go to
# build-fuzz/corpus/, findings to build-fuzz/findings/; the corpus in the repository is only
# read. Exit code 1: a finding, 2: it could not be built.
set -u

seconds=${1:?usage: tests/fuzz/run.sh SECONDS [TARGET...]}
shift
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 2
build=${BUILD:-$root/build-fuzz}

if [ ! -f "$build/build.ninja" ]; then
	CC=clang meson setup "$build" "$root" -Dfuzz=true -Db_sanitize=address,undefined \
		-Db_lundef=false -Dc_args=-fsanitize=fuzzer-no-link >"$build.log" 2>&1 || {
		cat "$build.log"
		exit 2
	}
	rm -f "$build.log"
fi
ninja -C "$build" fuzzers || exit 2
mkdir -p "$build/findings"

if [ $# -eq 0 ]; then
	set -- $(cd "$root/tests/fuzz" && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')
fi

# A finding is any input that ends the process, leaks, or takes over ten seconds.
failed=0
passed=0
for name; do
	new=$build/corpus/$name
	dict=$root/tests/fuzz/$name.dict
	log=$build/findings/$name.log
	mkdir -p "$new"
	set -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=20000 \
		-print_final_stats=1 -artifact_prefix="$build/findings/$name-"
	[ -f "$dict" ] && set -- "$@" -dict="$dict"
	if UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		"$build/tests/fuzz/fuzz_$name" "$@" "$new" "$root/tests/fuzz/corpus/$name" \
		>"$log" 2>&1; then
		passed=$((passed + 1))
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
		echo "fuzz $name: ok, $runs inputs in $seconds s"
	else
		failed=$((failed + 1))
		echo "fuzz $name: FOUND SOMETHING"
		tail -n 60 "$log"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
