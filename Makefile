# The newcomer's door: on a fresh Debian 12 with git and make, `make run` and `make test` install what is
# missing and do the rest. Everything is built by the presets of CMakePresets.json, which work without it.

JOBS ?= $(shell nproc)
# Seconds that `make fuzz` runs each target.
SECONDS ?= 60

CONFIGURE = cmake --log-level=WARNING --preset
COMPILE = cmake --build --parallel $(JOBS) --preset

.PHONY: build run test fuzz bench format clean help
.DEFAULT_GOAL := build

build:  ## the release binary, build/release/fathom (default)
	@tools/install_packages.sh build
	@test -f build/release/build.ninja || $(CONFIGURE) release -DFATHOM_BUILD_TESTS=OFF
	@$(COMPILE) release --target fathom

run: build  ## build, then hold a short conversation with the bundled demonstration model
	@tools/demo.sh build/release/fathom

# One ctest run over all builds, so that its summary counts everything. Tests of the sanitizer build are
# named sanitized.*, those of the fuzz targets fuzz.*; both come from one build by clang, whose libFuzzer
# needs the sanitizers anyway. Those for 64-bit Arm, which run by emulation, are named neon.*.
test:  ## the whole suite: release build, sanitizer build, Arm build, a short run of every fuzz target
	@tools/install_packages.sh build test cross
	@$(CONFIGURE) release
	@$(COMPILE) release
	@$(CONFIGURE) fuzz
	@$(COMPILE) sanitize
	@$(CONFIGURE) neon
	@$(COMPILE) neon
	@rm -rf build/fuzz/fuzz/test_corpus && mkdir -p build/all
	@for name in release fuzz neon; do echo "subdirs(\"$(CURDIR)/build/$$name\")"; done \
	  > build/all/CTestTestfile.cmake
	@ctest --test-dir build/all --parallel $(JOBS) --output-on-failure --no-tests=error \
	  --no-label-summary

fuzz:  ## run every fuzz target for SECONDS (60); inputs found are kept in build/fuzz/corpus
	@tools/install_packages.sh build test
	@$(CONFIGURE) fuzz
	@$(COMPILE) fuzz
	@for program in build/fuzz/fuzz/*_fuzz; do test -x $$program || continue; \
	  echo "$$program"; fuzz/run.sh $$program $(SECONDS) build/fuzz/corpus || exit 1; done

bench:  ## build and run the benchmarks
	@tools/install_packages.sh build test
	@$(CONFIGURE) release -DFATHOM_BUILD_BENCH=ON
	@$(COMPILE) release --target benches
	@for program in build/release/bench/*_bench; do test -x $$program || continue; \
	  echo "$$program"; $$program || exit 1; done

format:  ## lay out all sources by .clang-format
	@tools/install_packages.sh format
	@git ls-files --cached --others --exclude-standard '*.cc' '*.h' | xargs clang-format -i

clean:  ## remove build/
	@rm -rf build

help:  ## this list
	@sed -n 's/^\([a-z]*\):[a-z ]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8
