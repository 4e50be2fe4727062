#!/usr/bin/env bash
# Runs every test of the project, with real servers. Installs the Debian packages it needs when run as root;
# otherwise names them. Arguments are handed to the test runner.
set -euo pipefail
cd "$(dirname "$0")/.."

# program that must be there → Debian package; not every one is on everybody's PATH
PATH=$PATH:/usr/sbin:$(printf '%s:' /usr/lib/postgresql/*/bin)
needs=(
  initdb:postgresql
  nginx:nginx-light
  redis-server:redis-server
  redis-benchmark:redis-tools
  chromium:chromium
  chromedriver:chromium-driver
  npm:npm
  git:git
  redis-cli:redis-tools
  taskset:util-linux
  ip:iproute2
  ssh:openssh-client
  bwrap:bubblewrap
  mksquashfs:squashfs-tools
  tc:iproute2
  strace:strace
  ssh-keygen:openssh-client
  promtool:prometheus
)
# The cluster of the tests is root's alone; and a container's root may not have namespaces.
cluster=
if [ "$(id -u)" -eq 0 ] && unshare --net --mount true 2>/dev/null; then
  cluster=yes
  needs+=(
    slurmctld:slurmctld
    slurmd:slurmd
    slurmdbd:slurmdbd
    sbatch:slurm-client
    munged:munge
    mariadbd:mariadb-server
    sshd:openssh-server
  )
fi

made=()
missing=()
for need in "${needs[@]}"; do
  command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)

if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "error: the tests need these Debian packages: ${missing[*]}" >&2
    echo "       sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 2
  fi
  # Packages must not start their services on this machine, nor make a database cluster: the tests start their own.
  trap 'rm -f "${made[@]}"' EXIT
  guard=/usr/sbin/policy-rc.d
  if [ ! -e "$guard" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
    made+=("$guard")
  fi
  clusters=/etc/postgresql-common/createcluster.d
  if [ ! -e "$clusters/none.conf" ]; then
    mkdir -p "$clusters"
    echo 'create_main_cluster = false' >"$clusters/none.conf"
    made+=("$clusters/none.conf")
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Servers that are Python packages, in an environment of their own below target/.
servers=target/test-servers
pins=(chromadb==1.5.9 'moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5 jsonschema==4.26.0 numpy==2.4.6
  roc-validator==0.13.0 rocrate==0.16.0)
if [ "$(cat "$servers/pins" 2>/dev/null)" != "${pins[*]}" ]; then
  python3 -m venv --clear "$servers"
  "$servers/bin/pip" install --quiet --disable-pip-version-check "${pins[@]}"
  echo "${pins[*]}" >"$servers/pins"
fi

# What looks for barriers to readers on the site's pages.
axe=target/axe
axe_version=4.10.3
if [ "$(cat "$axe/version" 2>/dev/null)" != "$axe_version" ]; then
  npm install --prefix "$axe" --no-save --no-audit --no-fund --silent "axe-core@$axe_version"
  echo "$axe_version" >"$axe/version"
fi

# A Slurm cluster of five nodes on this machine, which needs namespaces, addresses and a user of its own. It comes up while
# the programs are built, and goes when nobody else uses it.
testbed=runner/tests/slurm/testbed/testbed
without=()
if [ -n "$cluster" ]; then
  trap '"$testbed" down --unless-used; rm -f "${made[@]}"' EXIT
  "$testbed" up >/dev/null &
else
  echo "note: the tests of Slurm clusters need root that may make network and mount namespaces, and are LEFT OUT" >&2
  without=(slurm)
fi

# The tests drive the real programs, and those need each other: sitegen is started by runner.
cargo build --workspace --bins
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --no-fail-fast ${without:+-E "not binary(slurm)"} "$@"
else
  cargo test --workspace --lib --bins --tests --no-fail-fast "$@" -- ${without:+--skip on_slurm_}
fi
