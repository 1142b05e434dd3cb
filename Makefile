# What people type. The build itself is Meson's; `make help` lists the targets.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=

sources = $(shell git ls-files 'src/*.[ch]' 'tests/*.[ch]' 'bench/*.[ch]')

all:
	@tools/deps.sh --check build
	@tools/build.sh $(BUILD)

help:
	@echo 'make            build into $(BUILD)/'
	@echo 'make deps       install what the build needs (Debian, as root)'
	@echo 'make deps-test  install what the tests need as well'
	@echo 'make run        build, and run a dispatcher and a relay on loopback'
	@echo 'make check      build with sanitizers and run every test'
	@echo 'make check-long the same with long fuzzing, and under a kernel of Debian in qemu'
	@echo 'make bench      build optimized, and measure speed, delay and memory'
	@echo 'make lint       clang-tidy and cppcheck'
	@echo 'make format     clang-format over the sources'
	@echo 'make install    install under DESTDIR and PREFIX ($(PREFIX))'
	@echo 'make clean      remove what was built'

deps:
	@tools/deps.sh build

deps-test:
	@tools/deps.sh build test

# The last line is run.py itself, so that it gets make's signals.
run:
	@tools/deps.sh build
	@tools/build.sh $(BUILD)
	@tools/run.py --build $(BUILD)

check:
	@tools/deps.sh build test
	@tools/check.py

check-long:
	@tools/deps.sh build test long
	@tools/check.py --long

# Optimized, so in a folder of its own. What `bench` lists adds to it, and may be missing.
bench:
	@tools/deps.sh build
	@[ "$$(id -u)" -ne 0 ] || tools/deps.sh bench || echo 'bench: going on without them'
	@tools/build.sh build-bench --buildtype=release -Dtests=false -Dbench=true
	@bench/run.py --build build-bench

install: all
	@meson configure $(BUILD) --prefix '$(PREFIX)'
	@DESTDIR='$(DESTDIR)' meson install -C $(BUILD)

format:
	@tools/deps.sh lint
	@clang-format -i $(sources)

lint:
	@tools/deps.sh build test lint
	@tools/lint.sh

clean:
	@rm -rf build build-asan build-clang build-tsan build-fuzz build-check build-bench

.PHONY: all help deps deps-test run check check-long bench install format lint clean
