# A cluster to watch. KEEP=1 leaves it up; demo-stop ends it.
DEMO_KEPT = build/demo.kept

.PHONY: demo demo-stop
demo: deps ## three nodes, HAProxy, two writers; kills the primary and shows what happens (KEEP=1)
	@$(SUBMAKE) -s -j2 root
	@$(SUBMAKE) tap-tools
	@ORCHESTRA_ROOT='$(abspath $(ROOT))' tools/stage.sh $(if $(KEEP),--keep $(DEMO_KEPT)) \
	  tools/run_demo.sh $(if $(KEEP),--keep)

demo-stop: ## ends the cluster that `make demo KEEP=1` left
	@tools/stage.sh --end $(DEMO_KEPT)
