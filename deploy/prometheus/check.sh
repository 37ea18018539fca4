#!/bin/sh
# Checks the scrape example, the rules and their tests. Needs promtool (Debian package prometheus).
set -eu
cd "$(dirname "$0")"

if ! command -v promtool >/dev/null; then
    echo "check.sh: promtool is missing: apt install prometheus" >&2
    exit 1
fi
promtool check config scrape.yml
promtool check rules rules.yml
promtool test rules rules_test.yml
