# The commands of this repository. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help build run test check fmt bench web clean

# Arguments for the command that a target runs, for example `make bench ARGS=--help`.
ARGS ?=

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the server and its tools for release
	cargo build --release --workspace

run: ## Start a demo shop on http://127.0.0.1:8080 (SQLite, ./data/demo.db)
	cargo build --release -p huika
	./target/release/huika demo --serve $(ARGS)

# SQLite is always tested; PostgreSQL, MariaDB and Redis where they answer. HUIKA_TEST_DEMAND, for example
# `make test HUIKA_TEST_DEMAND=postgres,mysql,redis`, turns an engine that does not answer into a failure.
test: ## Run every test (HUIKA_TEST_DEMAND=postgres,mysql,redis insists on those engines)
	@if cargo nextest --version >/dev/null 2>&1; then \
	  set -x; cargo nextest run --workspace $(ARGS); \
	else \
	  set -x; cargo test --workspace $(ARGS); \
	fi

check: ## Check format, lints, generated files and dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@# Which crate may use which, read from cargo metadata.
	cargo test --quiet -p huika --test it dependencies::
	scripts/check-generated
	@if cargo deny --version >/dev/null 2>&1; then \
	  set -x; cargo deny check; \
	else \
	  echo '***'; \
	  echo '*** SKIPPED: cargo-deny is not installed, so licences, advisories and sources were not checked.'; \
	  echo '*** Install it with: cargo install --locked cargo-deny'; \
	  echo '***'; \
	fi

fmt: ## Format the code
	cargo fmt --all

bench: ## Measure throughput and latency on every engine that answers (ARGS=--help for options)
	cargo run --release -p huika-bench -- $(ARGS)

web: ## Build the front ends (there are none in the tree yet)
	@echo 'There is no front end in the tree yet: nothing to build. The API works; pages answer 503.'

clean: ## Remove what was built (databases in ./data stay)
	cargo clean
