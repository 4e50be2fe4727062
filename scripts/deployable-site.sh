#!/usr/bin/env bash
# Makes the site to deploy, with the versions that were deployed before: verify the archive, fetch the list of versions,
# make again those that are not here, build the new one, check all. What continuous integration runs; a clone needs its
# whole history.
#   scripts/deployable-site.sh URL [OUT]
# URL is where the site is, or will be, published. REPOSITORY is the web address of the archive's repository, to link to. KEEP is how many earlier versions stay (20), RUNNER and SITEGEN are the
# programs (target/release/…).
set -euo pipefail
url=${1:?"the address of the published site"}
out=${2:-site}
keep=${KEEP:-20}
runner=${RUNNER:-target/release/runner}
sitegen=${SITEGEN:-target/release/sitegen}

"$runner" verify

mkdir -p "$out"
if [ ! -e "$out/versions.json" ]; then
  if curl --fail --silent --show-error --location --max-time 60 --output "$out/.versions.json" "$url/versions.json"; then
    mv "$out/.versions.json" "$out/versions.json"
  else
    rm -f "$out/.versions.json"
    echo "note: no list of versions at $url: this deployment is taken for the first"
  fi
fi

# The latest first. Names are letters, digits, `.`, `_` and `-`; anything else in the list is not ours.
names=()
if [ -e "$out/versions.json" ]; then
  mapfile -t names < <(sed -nE 's/^ *"version": "([A-Za-z0-9][A-Za-z0-9._-]*)",?$/\1/p' "$out/versions.json")
fi
kept=0
for name in "${names[@]}"; do
  if [ "$kept" -ge "$keep" ]; then
    rm -rf "${out:?}/$name"
    echo "note: version $name is one more than $keep: left out"
  elif [ -d "$out/$name" ] || "$sitegen" rebuild "$name" --out "$out"; then
    kept=$((kept + 1))
  else
    # Another sitegen makes other pages: a version is published as it was, or not at all.
    echo "note: version $name cannot be made again as it was: left out"
  fi
done

"$sitegen" build --out "$out" --base-url "$url" ${REPOSITORY:+--repository "$REPOSITORY"}
"$sitegen" check --out "$out"
# What builds keep for themselves is not for publishing.
rm -rf "$out/.cache"
