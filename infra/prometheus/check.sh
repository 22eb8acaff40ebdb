#!/bin/sh
# Checks the rules and runs their unit tests. promtool comes with Prometheus (Debian: apt install prometheus).
set -eu
cd "$(dirname "$0")"
if ! command -v promtool > /dev/null; then
  echo "PROMETHEUS RULES NOT CHECKED: there is no promtool here (Debian: apt install prometheus)" >&2
  exit 0
fi
promtool check config prometheus.yml embedded.yml
promtool check rules rules/*.yaml
promtool test rules tests/*.yaml
