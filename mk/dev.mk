# For developers.
CLANG_FORMAT ?= clang-format
CLANG_TIDY ?= clang-tidy
CXX_FILES = $(shell find src test bench -name '*.cpp' -o -name '*.h' 2>/dev/null)
PERL_FILES = $(wildcard t/*.pl t/chaos/*.pl t/lib/*.pl t/lib/*/*.pm demo/*.pl)

# What clang-tidy reads: all that builds without a server's headers.
TIDY_FILES = $(wildcard src/core/*.cpp src/net/*.cpp test/sim/*.cpp test/unit/*.cpp)
TIDY_LOG = build/tidy.log

.PHONY: bench format lint lint-tidy help
bench: deps ## probe (Google Benchmark), and failover and idle cost of a real cluster (ROUNDS=3)
	@$(SUBMAKE) cmake-build
	@$(SUBMAKE) -s -j2 root
	@$(SUBMAKE) tap-tools
	@for bench in build/cmake/*_bench; do echo "== $$bench"; "$$bench" || exit 1; done
	@ORCHESTRA_ROOT='$(abspath $(ROOT))' tools/stage.sh tools/run_bench.sh cluster $(ROUNDS)

format: ## clang-format
	@$(CLANG_FORMAT) -i $(CXX_FILES)

lint: lint-tidy ## formatting, clang-tidy, shell and Perl, sizes of files, zones
	@$(CLANG_FORMAT) --dry-run -Werror $(CXX_FILES)
	@shellcheck -x $(wildcard tools/*.sh .ci/run demo/*.sh)
	@sh test/unit/zones.sh .
	@wc -l $(CXX_FILES) $(PERL_FILES) $(wildcard tools/*.sh) | \
	  awk '$$1 >= 500 && $$2 != "total" {print $$2 ": " $$1 " lines"; bad = 1} END {exit bad}'
	@! grep -nE '.{101,}' $(PERL_FILES) $(wildcard tools/*.sh)
	@! grep -nE '\bsleep[ (]+[1-9]' -r t test

# A finding is printed and an error; the counts on standard error are not worth reading.
lint-tidy: ## clang-tidy (some minutes); left out where it is not installed
	@command -v $(CLANG_TIDY) >/dev/null || { echo 'no $(CLANG_TIDY): left out'; exit 0; }; \
	  cmake -S . -B build/cmake -DCMAKE_MESSAGE_LOG_LEVEL=WARNING >/dev/null && \
	  printf '%s\n' $(TIDY_FILES) | \
	  xargs -P2 -n4 $(CLANG_TIDY) -p build/cmake --quiet \
	    --extra-arg=-Wno-unknown-warning-option 2>$(TIDY_LOG) || \
	  { grep -av 'warnings\? generated' $(TIDY_LOG); exit 1; }

help: ## this list
	@printf '  %-15s %s\n' all 'builds the extension' install 'installs it (as PGXS: DESTDIR, PG_CONFIG)' \
	  clean 'removes what was built'
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' mk/*.mk | \
	  while IFS='	' read -r target what; do printf '  %-15s %s\n' "$$target" "$$what"; done
