# The consensus core under a deterministic simulator (test/sim).
SEEDS ?= 100000
FROM ?= 1

.PHONY: check-sim soak
check-sim: deps ## simulator: 5,000 random runs with coverage floors, schedules, and the mutants
	@$(SUBMAKE) cmake-build
	@$(check_suites) sim

soak: deps ## simulator: many random runs, a line every ten seconds (SEEDS=100000 FROM=1 EVENTS=0)
	@$(SUBMAKE) cmake-build
	@build/cmake/sim --soak --seeds $(SEEDS) --from $(FROM) --events $(or $(EVENTS),0)
