# Tests. What needs PostgreSQL's build rules runs in a make of its own, because these rules are only
# there once `deps` has installed them.
export PG_CONFIG ?= pg_config
SUBMAKE = $(MAKE) --no-print-directory

.PHONY: deps check check-unit check-sim check-regress check-tap cmake-build tap-tools
deps: ## names what is missing and, as root, installs it (starts no service)
	@tools/deps.sh

ifndef PGXS
check: deps ## every test there is, and one summary line
	@$(SUBMAKE) cmake-build
	@$(SUBMAKE) root tap-tools
	@$(SUBMAKE) root FAULTS=1
	@$(check_suites) unit sim regress tap negative
endif

check-unit: deps ## unit tests of the core and the sockets
	@$(SUBMAKE) cmake-build
	@$(check_suites) unit

check-sim: deps ## simulator: SIM_SEEDS=2000 with coverage floors, and the mutants
	@$(SUBMAKE) cmake-build
	@$(check_suites) sim

check-regress: deps ## pg_regress
	@$(SUBMAKE) root
	@$(check_suites) regress

check-tap: deps ## clusters on real servers (TESTS=t/100_failover.pl), and the negative controls
	@$(SUBMAKE) root tap-tools
	@$(if $(TESTS),,$(SUBMAKE) root FAULTS=1)
	@$(check_suites) tap $(if $(TESTS),,negative)

check_suites = TESTS='$(TESTS)' ORCHESTRA_ROOT='$(abspath $(ROOT))' \
  ORCHESTRA_FAULTS_ROOT='$(abspath $(ROOT)_faults)' tools/check.sh

cmake-build:
	@cmake -S . -B build/cmake -DCMAKE_MESSAGE_LOG_LEVEL=WARNING >/dev/null
	@cmake --build build/cmake -j2

tap-tools: build/tools/writer
build/tools/writer: test/tools/writer.cpp
	@mkdir -p $(@D)
	$(CXX) -std=c++20 -O2 -Wall -Wextra -Werror -I$(shell $(PG_CONFIG) --includedir) $< -o $@ \
	  -L$(shell $(PG_CONFIG) --libdir) -lpq
