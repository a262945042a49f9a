# For developers.
CLANG_FORMAT ?= clang-format
CXX_FILES = $(shell find src test bench -name '*.cpp' -o -name '*.h' 2>/dev/null)
PERL_FILES = $(wildcard t/*.pl t/lib/*.pl t/lib/*/*.pm demo/*.pl)

.PHONY: bench format lint help
bench: deps ## probe (Google Benchmark), and failover and idle cost of a real cluster (ROUNDS=3)
	@$(SUBMAKE) cmake-build
	@$(SUBMAKE) -s -j2 root
	@$(SUBMAKE) tap-tools
	@for bench in build/cmake/*_bench; do echo "== $$bench"; "$$bench" || exit 1; done
	@ORCHESTRA_ROOT='$(abspath $(ROOT))' tools/stage.sh tools/run_bench.sh $(ROUNDS)

format: ## clang-format
	@$(CLANG_FORMAT) -i $(CXX_FILES)

lint: ## formatting, shell and Perl, sizes of files, zones
	@$(CLANG_FORMAT) --dry-run -Werror $(CXX_FILES)
	@shellcheck -x $(wildcard tools/*.sh .ci/run demo/*.sh)
	@sh test/unit/zones.sh .
	@wc -l $(CXX_FILES) $(PERL_FILES) $(wildcard tools/*.sh) | \
	  awk '$$1 >= 500 && $$2 != "total" {print $$2 ": " $$1 " lines"; bad = 1} END {exit bad}'
	@! grep -nE '.{101,}' $(PERL_FILES) $(wildcard tools/*.sh)
	@! grep -nE '\bsleep[ (]+[1-9]' -r t test

help: ## this list
	@printf '  %-15s %s\n' all 'builds the extension' install 'installs it (as PGXS: DESTDIR, PG_CONFIG)' \
	  clean 'removes what was built'
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' mk/*.mk | \
	  while IFS='	' read -r target what; do printf '  %-15s %s\n' "$$target" "$$what"; done
