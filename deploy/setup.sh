#!/usr/bin/env bash
# Makes this checkout ready, on a fresh Debian 12 machine too, and does nothing where all is there:
#
#   deploy/setup.sh demo|test|long|lint     .venv with the locked dependencies, .venv/bin/geo, system packages
#   deploy/setup.sh interop                 the same as test, and registries that only Go can build, where there is Go
#   deploy/setup.sh --install PACKAGE… only the system packages, as root, leaving no service behind
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

# --- system packages -------------------------------------------------------------------------------------------

# The Debian packages that are missing for a purpose, one a line.
missing_packages() {
  # Debian's Python has no ensurepip without python3-venv.
  python3 -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || echo python3-venv
  [ "$1" = lint ] && return
  command -v docker-registry >/dev/null || echo docker-registry
  command -v skopeo >/dev/null || echo skopeo
  [ "$1" = demo ] && return
  # The documentation asks by it.
  command -v curl >/dev/null || echo curl
  # Debian keeps the server's programs out of PATH.
  command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
  [ "$1" = test ] && return
  command -v faketime >/dev/null || echo faketime
  command -v ip >/dev/null || echo iproute2
  # Brings promtool too.
  command -v prometheus >/dev/null || echo prometheus
  # Other queues than ours: RabbitMQ, and a Redis that speaks TLS.
  compgen -G '/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server' >/dev/null || echo rabbitmq-server
  command -v redis-server >/dev/null || echo redis-server
  # The pages are looked at in it.
  command -v chromium >/dev/null || echo chromium
}

system_packages() {
  local purpose=$1 as_root=() missing
  mapfile -t missing < <(missing_packages "$purpose")
  [ "${#missing[@]}" -gt 0 ] || return 0
  if command -v apt-get >/dev/null; then
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    if [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; then
      "${as_root[@]}" bash deploy/setup.sh --install "${missing[@]}"
      mapfile -t missing < <(missing_packages "$purpose")
      [ "${#missing[@]}" -gt 0 ] || return 0
      say "Installed, and still not found: ${missing[*]}"
    else
      say "Missing, and not to be installed without root: ${missing[*]}"
      say "Run this, then try again:"
      say "  sudo bash deploy/setup.sh --install ${missing[*]}"
    fi
  else
    say "Missing, and not to be installed without apt-get: what Debian packages as ${missing[*]}"
    say "(python3-venv: Python 3.11 or later with venv; docker-registry: CNCF Distribution's registry, under that"
    say "name on PATH; postgresql: initdb and postgres). Install them with this system's packages, then try again."
  fi
  # Without a registry or a database server the tests that need one skip themselves and say so, except where
  # a skipped test would go unseen.
  [[ "$purpose" = test || "$purpose" = long ]] && [ "${CI:-}" != true ] && [[ " ${missing[*]} " != *" python3-venv "* ]]
}

policy=/usr/sbin/policy-rc.d
policy_before=$policy.before-geo-registry
clusters=/etc/postgresql-common/createcluster.conf
clusters_before=$clusters.before-geo-registry
clusters_packaged=/usr/share/postgresql-common/createcluster.conf

restore() {
  rm -f "$policy"
  [ ! -e "$policy_before" ] || mv -f "$policy_before" "$policy"
  if [ -e "$clusters_before" ]; then
    mv -f "$clusters_before" "$clusters"
  elif [ -e "$clusters_packaged" ]; then
    cp "$clusters_packaged" "$clusters"
    rm -f "$clusters.ucf-dist"
  else
    rm -f "$clusters"
    rmdir --ignore-fail-on-non-empty "${clusters%/*}"
  fi
}

# As root: install packages without leaving a service running, enabled or set up. A packaged registry would take
# port 5000 and PostgreSQL would create a cluster on 5432.
install_packages() {
  trap restore EXIT
  # What a run that was killed halfway put aside is still what was there before.
  [ -e "$policy_before" ] || [ ! -e "$policy" ] || mv "$policy" "$policy_before"
  printf '#!/bin/sh\n# No service is started while geo-registry installs packages.\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  mkdir -p "${clusters%/*}"
  [ -e "$clusters_before" ] || [ ! -e "$clusters" ] || mv "$clusters" "$clusters_before"
  echo 'create_main_cluster = false' >"$clusters"

  say "Installing the system packages $* ..."
  # An old package list may do where the update fails; the installation says so if not.
  apt-get -qq update || true
  # UCF: keep the file above without asking.
  DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 apt-get -qq -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install "$@" >/dev/null
  # Nor after the next boot.
  local name
  for name in docker-registry postgresql prometheus rabbitmq-server redis-server; do
    case " $* " in *" $name "*) update-rc.d "$name" disable ;; esac
  done
  # Erlang's port mapper comes with RabbitMQ, as a socket of systemd.
  case " $* " in *" rabbitmq-server "*) systemctl --quiet disable epmd.socket epmd.service || true ;; esac
}

# --- .venv -----------------------------------------------------------------------------------------------------

# What a lock's installation depends on, as one word.
fingerprint() { { .venv/bin/python -VV && cat "$1"; } | sha256sum | cut -d' ' -f1; }

installed() { [ "$(cat "$2" 2>/dev/null)" = "$(fingerprint "$1")" ]; }

virtual_environment() {
  local lock=$1
  # A .venv whose Python is gone, or from another Python than it was made by, is made anew.
  .venv/bin/python -c 'import pip' 2>/dev/null || python3 -m venv --clear .venv

  # Two stamps in one environment: the development lock includes the runtime one, version by version.
  local runtime=.venv/.installed-runtime development=.venv/.installed-development
  if [ "$lock" = requirements.txt ]; then
    if ! installed "$lock" "$runtime"; then
      install_lock "$lock"
      fingerprint "$lock" >"$runtime"
    fi
  elif ! installed "$lock" "$development" || ! installed requirements.txt "$runtime"; then
    install_lock "$lock"
    fingerprint "$lock" >"$development"
    fingerprint requirements.txt >"$runtime"
  fi
  install_checkout
}

install_lock() {
  say "Installing the packages of $1 into .venv ..."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$1"
}

# The checkout itself, by a path file and the `geo` script. Not `pip install -e .`: pip takes no checkout
# together with hashes, and building one needs setuptools, which the lock does not have (build isolation would
# fetch it without a hash). The project runs uninstalled on platforms too, so nothing needs its metadata.
install_checkout() {
  local site
  site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  pwd -P >"$site/geo-registry.pth"
  # Through sh: a path may be too long, or have a blank too many, for a first line that names the interpreter.
  cat >.venv/bin/geo.new <<EOF
#!/bin/sh
'''exec' "$(pwd -P)/.venv/bin/python" "\$0" "\$@"
' '''
import sys

from app.cli import main

sys.exit(main())
EOF
  chmod 755 .venv/bin/geo.new
  mv .venv/bin/geo.new .venv/bin/geo
}

# --- registries in Go ------------------------------------------------------------------------------------------

# Seconds that one of them may take to be fetched and built.
go_limit=600

# Programs of the interop run that Debian does not package: name, Go package, build tags. The last is the OCI
# conformance suite.
go_packages() {
  echo registry github.com/distribution/distribution/v3/cmd/registry@v3.1.1
  echo zot zotregistry.dev/zot/v2/cmd/zot@v2.1.20 events
  echo olareg github.com/olareg/olareg/cmd/olareg@latest
  echo conformance github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111
}

# Those that are missing, into ~/go/bin, where the tests look. What cannot be had here is said, and left out.
go_programs() {
  local go name package tags
  if ! go=$(command -v go || command -v /usr/local/go/bin/go); then
    say "There is no Go: the interop run goes without what it would build."
    return 0
  fi
  while read -r name package tags; do
    if command -v "$name" >/dev/null || [ -x "$HOME/go/bin/$name" ]; then continue; fi
    say "Installing $package into ~/go/bin ..."
    GOBIN="$HOME/go/bin" CGO_ENABLED=0 timeout "$go_limit" "$go" install -tags "$tags" "$package" </dev/null ||
      say "$name cannot be had here: the interop run goes without it."
  done < <(go_packages)
}

case "${1:-}" in
  --install) shift; install_packages "$@" ;;
  demo) system_packages demo; virtual_environment requirements.txt ;;
  test | long | lint) system_packages "$1"; virtual_environment tests/requirements.txt ;;
  interop) system_packages test; virtual_environment tests/requirements.txt; go_programs ;;
  *) say "usage: deploy/setup.sh demo|test|long|lint|interop"; exit 2 ;;
esac
