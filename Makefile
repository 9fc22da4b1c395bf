# Everything that people do here. Big build results lie in one cache folder outside of the checkout; nothing needs it to exist.
CACHE := $(or $(EVENKEEL_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/evenkeel)
export EVENKEEL_CACHE := $(CACHE)

.PHONY: help demo simulate test lint format generate images cluster bench-propagation bench-controller bench-selection clean

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## /make \1  # /p' $(MAKEFILE_LIST) | column -t -s '#'

demo: ## A pool over three endpoints of different speed, with live shares, until Ctrl-C
	hack/demo.sh

simulate: ## Every algorithm in eight scenarios, beside what must hold: about 12 minutes on 2 cores (simulator/README.md)
	cargo run --profile image -p evenkeel --bin evenkeel -- simulate simulator/scenarios/*.yaml --report $(or $(CARGO_TARGET_DIR),target)/simulate

test: ## Everything: unit, property, config channel, raw sockets, a real API server, a real cluster
	hack/test.sh

lint: ## Formatting, lints, licences, conventions
	hack/lint.sh

format: ## Format the code
	cargo fmt --all

generate: ## Write the generated files
	cargo xtask generate
	hack/generate-manifests.sh

images: ## Static programs as image archives in $(CACHE)/images
	hack/images.sh

cluster: images ## A real Kubernetes of three nodes with Evenkeel's images on it (hack/README.md)
	hack/cluster.sh up
	hack/cluster.sh load $(CACHE)/images/*.tar

bench-propagation: ## How long a change of endpoints takes to the slowest proxy (bench/README.md)
	bench/run.sh propagation

bench-controller: ## What 1,000 changes of endpoints cost the controller
	bench/run.sh controller

bench-selection: ## A pick beside those of pingora-load-balancing and tower
	cd bench/peers && cargo bench --bench selection

clean: ## Remove the cluster and the cache folder
	hack/cluster.sh down
	rm -rf $(CACHE)
