# Tests. What needs PostgreSQL's build rules runs in a make of its own (see Makefile).
export PG_CONFIG
SUBMAKE = $(MAKE) --no-print-directory
FAULTS_TREE = $(CURDIR)/build/faults

.PHONY: deps check check-unit check-regress check-tap check-chaos cmake-build tap-tools faults-root
deps: ## names what is missing and, as root, installs it (starts no service)
	@tools/deps.sh

check: deps ## every test there is, and one summary line
	@$(SUBMAKE) cmake-build
	@$(SUBMAKE) -s -j2 root
	@$(SUBMAKE) tap-tools
	@$(SUBMAKE) faults-root
	@$(check_suites) unit sim regress tap chaos negative model fuzz asan

check-unit: deps ## unit tests of the core and the sockets
	@$(SUBMAKE) cmake-build
	@$(check_suites) unit

check-regress: deps ## pg_regress
	@$(SUBMAKE) -s -j2 root
	@$(check_suites) regress

check-tap: deps ## clusters on real servers (TESTS=t/100_failover.pl), and the negative controls
	@$(SUBMAKE) -s -j2 root
	@$(SUBMAKE) tap-tools
	@$(if $(TESTS),,$(SUBMAKE) faults-root)
	@$(check_suites) tap $(if $(TESTS),,negative)

# A failed round comes again with its number: SEED=... ROUNDS=... as printed.
CHAOS_SEED := $(or $(SEED),$(shell od -An -N3 -tu4 /dev/urandom | tr -d ' '))
check-chaos: deps ## 200 random failures on the commit path of a real cluster (ROUNDS=200 SEED=random)
	@$(SUBMAKE) tap-tools
	@$(SUBMAKE) faults-root
	@ROUNDS=$(or $(ROUNDS),200) SEED=$(CHAOS_SEED) $(check_suites) chaos

check_suites = TESTS='$(TESTS)' ORCHESTRA_ROOT='$(abspath $(ROOT))' \
  ORCHESTRA_FAULTS_ROOT='$(FAULTS_TREE)/tmp_root' tools/check.sh

cmake-build:
	@cmake -S . -B build/cmake -DCMAKE_MESSAGE_LOG_LEVEL=WARNING >/dev/null
	@cmake --build build/cmake -j2

tap-tools: build/tools/writer build/tools/slow_fsync.so build/tools/disk_full.so
build/tools/writer: test/tools/writer.cpp
	@mkdir -p $(@D)
	$(CXX) -std=c++20 -O2 -Wall -Wextra -Werror -I$(shell $(PG_CONFIG) --includedir) $< -o $@ \
	  -L$(shell $(PG_CONFIG) --libdir) -lpq
build/tools/%.so: test/tools/%.cpp
	@mkdir -p $(@D)
	$(CXX) -std=c++20 -O2 -Wall -Wextra -Werror -shared -fPIC $< -o $@ -ldl

# The test build, with switches that turn safety rules off.
faults-root:
	@mkdir -p $(FAULTS_TREE)
	@$(SUBMAKE) -s -j2 -C $(FAULTS_TREE) -f $(CURDIR)/Makefile FAULTS=1 ROOT=$(FAULTS_TREE)/tmp_root root
