# Every target is one script of bin/; CI calls the same scripts.

.DEFAULT_GOAL := help
.PHONY: help run stop logs reset test lint bench lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

run: ## Set everything up, start Kontor on this machine, print address and log-in
	@bin/run

stop: ## Stop Kontor and its database; the data stays
	@bin/kontor stop

logs: ## Follow the logs of all processes
	@bin/kontor logs --follow

reset: ## Stop Kontor and delete its data, after a question
	@bin/reset

test: ## Install what the tests need and run all of them (arguments: make test ARGS="-k leads")
	@bin/test $(ARGS)

lint: ## Check style, types, import contracts and lock files
	@bin/lint

bench: ## Measure, print a table and write var/bench/latest.json
	@bin/bench $(ARGS)

lock: ## Resolve the dependencies anew and write the lock files
	@bin/lock $(ARGS)
