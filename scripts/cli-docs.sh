#!/usr/bin/env bash
# Writes docs/cli.md and docs/schema.json from what the programs say of themselves. Usage: scripts/cli-docs.sh [FOLDER]
# FOLDER holds `runner` and `sitegen`; target/debug when not given. The tests tell when a command is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:-target/debug}

commands() { COLUMNS=100 "$bin/$1" --help | sed -n '/^Commands:/,/^$/p' | awk '/^  [a-z]/ { print $1 }' | grep -vx help; }
{
  echo "# Command line"
  echo
  echo "What each command says with \`--help\`. Written by \`scripts/cli-docs.sh\`."
  for program in runner sitegen; do
    echo
    echo "## $program"
    echo
    COLUMNS=100 "$bin/$program" --help | sed 's/^\(.\)/    \1/'
    for command in $(commands "$program"); do
      echo
      echo "### $program $command"
      echo
      COLUMNS=100 "$bin/$program" "$command" --help | sed 's/^\(.\)/    \1/'
    done
  done
} >docs/cli.md.new
mv docs/cli.md.new docs/cli.md
"$bin/runner" schema | python3 -c 'import json, sys; json.dump(json.load(sys.stdin), sys.stdout, ensure_ascii=False, separators=(",", ":"))' >docs/schema.json.new
mv docs/schema.json.new docs/schema.json
