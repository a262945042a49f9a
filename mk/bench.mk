# What the commit path costs.
.PHONY: bench-gates
bench-gates: deps ## ns of each gate; pgbench with and without orchestra, in pairs (PAIRS=50)
	@$(SUBMAKE) -s -j2 root
	@PAIRS=$(or $(PAIRS),50) ORCHESTRA_ROOT='$(abspath $(ROOT))' \
	  tools/stage.sh tools/run_bench.sh gates
