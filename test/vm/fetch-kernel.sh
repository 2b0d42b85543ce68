#!/bin/bash
# fetch-kernel.sh VERSION DESTDIR
#
# Puts a stock Debian cloud kernel into DESTDIR/VERSION: `vmlinuz`, `release` with its full release name, and in
# `modules` those modules that the tests load, not compressed.
# Nothing is downloaded when they are already there. Needs apt-get and dpkg, but no root, and changes nothing outside
# DESTDIR. The address comes from this machine's own apt sources; a machine that is not Debian names one in
# CONNPROF_DEBIAN_MIRROR (and CONNPROF_DEBIAN_SECURITY_MIRROR, when it is not that address with "-security" added).
set -euo pipefail

# version | package, the newest that matches is taken | suites in the order they are searched
#
# The archive keeps a stable suite's point release; when that is gone the security suite still has newer builds.
# sid moves on: once it has left a version behind, testing has that version a little longer.
kernels() {
  cat <<'TABLE'
5.10|^linux-image-5\.10\.0-[0-9]+-cloud-amd64$|bullseye bullseye-security
6.1|^linux-image-6\.1\.0-[0-9]+-cloud-amd64$|bookworm bookworm-security
6.12|^linux-image-6\.12\.[0-9.]+\+deb12-cloud-amd64$|bookworm-security
7.2|^linux-binary-7\.2\.[0-9.]+(\+deb[0-9]+)?-cloud-amd64$|sid testing
TABLE
}

# What the tests load, and all that these depend on in one of the kernels. One that a kernel does not have is left out
# here, and named by the test that wants it.
modules="veth dummy macvlan bridge stp llc 8021q garp mrp bonding tls
nf_conntrack nf_defrag_ipv4 nf_defrag_ipv6 nfnetlink nf_tables nft_ct libcrc32c
virtio_net net_failover failover virtio_pci virtio_pci_modern_dev virtio_pci_legacy_dev virtio_ring virtio"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# fail WHAT-AND-WHY WHAT-TO-DO
fail() {
  echo "fetch-kernel.sh: $1: $2" >&2
  exit 1
}

need() {
  command -v "$1" >/dev/null || fail "$1 is not installed" "it comes with the package $2"
}

# apt_suites prints "address suite" for every source this machine's apt is set up with, whatever format it is kept in.
apt_suites() {
  apt-get update --print-uris 2>/dev/null | sed -n "s,^'\(.*\)/dists/\(.*\)/InRelease'.*,\1 \2,p"
}

# mirrors sets $archive and $security, the addresses of Debian's archive and of its security updates.
mirrors() {
  archive=${CONNPROF_DEBIAN_MIRROR:-}
  security=${CONNPROF_DEBIAN_SECURITY_MIRROR:-}
  if [ -z "$archive" ]; then
    local id codename
    id=$(. /etc/os-release && echo "${ID:-}")
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-sid}")
    [ "$id" = debian ] || fail "this machine's apt sources are not Debian's (it is '$id')" \
      "set CONNPROF_DEBIAN_MIRROR to the address of a Debian archive"
    archive=$(apt_suites | awk -v c="$codename" '$2 == c || $2 ~ /^(stable|testing|unstable|sid)$/ && !n++ {print $1}')
    [ -n "$archive" ] || fail "no source for '$codename' among this machine's apt sources" \
      "add one, or set CONNPROF_DEBIAN_MIRROR to the address of a Debian archive"
    [ -n "$security" ] || security=$(apt_suites | awk '$2 ~ /-security$/ && !n++ {print $1}')
  fi
  archive=${archive%/}
  security=${security:-$archive-security}
}

# configure_apt SUITE makes $state/apt.conf: this suite and no other, with lists, cache and package state of its own,
# and none of the hooks that the machine runs after an update.
configure_apt() {
  local address=$archive
  case $1 in *-security) address=$security ;; esac
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  : >"$state/status"
  echo "deb [arch=amd64 target=Packages lang=none signed-by=$keyring] $address $1 main" >"$state/sources.list"
  cat >"$state/apt.conf" <<CONF
Dir::State "$state";
Dir::State::lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state/cache";
Dir::Etc::sourcelist "$state/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Retries "2";
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Sandbox::User "";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
CONF
}

# find_package PATTERN SUITE... sets $package to the newest match of the first suite that has one. What went wrong with
# the suites before it is kept in $troubles.
find_package() {
  local pattern=$1 suite
  shift
  package= troubles=
  for suite; do
    configure_apt "$suite"
    if ! apt-get -c "$state/apt.conf" -qq --error-on=any update >"$state/log" 2>&1; then
      troubles+="; $suite: $(grep -m1 '^E:' "$state/log" || tail -n1 "$state/log")"
      continue
    fi
    package=$(apt-cache -c "$state/apt.conf" search --names-only "$pattern" | cut -d' ' -f1 | sort -V | tail -n1)
    [ -z "$package" ] || return 0
    troubles+="; $suite: no package matches $pattern"
  done
}

# unpack_into FOLDER PACKAGE downloads a package and unpacks it into FOLDER/tree.
unpack_into() {
  (cd "$1" && apt-get -c "$state/apt.conf" -qq download "$2") >"$state/log" 2>&1 ||
    fail "cannot download $2 ($(grep -m1 '^E:' "$state/log" || tail -n1 "$state/log"))" \
      "check the network and run it again"
  dpkg -x "$1"/*.deb "$1/tree" || fail "cannot unpack $2" "check the free space of $dest"
  rm "$1"/*.deb
}

# keep_modules FOLDER moves the modules from FOLDER/tree to FOLDER/modules, named by the kernel's own names for them.
keep_modules() {
  local name file
  mkdir "$1/modules"
  for name in $modules; do
    file=$(find "$1/tree" -name "$name.ko*" -type f -print -quit)
    case $file in
    '') ;;
    *.ko) mv "$file" "$1/modules/" ;;
    *.ko.xz) xz -dc "$file" >"$1/modules/$name.ko" || fail "cannot unpack $file" "check the free space of $dest" ;;
    *) fail "${file##*/} is compressed in a way that is not known here" "teach keep_modules in fetch-kernel.sh" ;;
    esac
  done
  echo $modules >"$1/modules/looked-for"
}

# download_into FOLDER unpacks $package and leaves vmlinuz, release and modules in FOLDER.
download_into() {
  local folder=$1 image
  mkdir "$folder/tree"
  unpack_into "$folder" "$package"
  # The newest kernels come as two packages, image and modules.
  case $package in linux-binary-*) unpack_into "$folder" "linux-modules-${package#linux-binary-}" ;; esac

  image=$(find "$folder/tree" -name 'vmlinuz*' -type f -print -quit)
  case $image in
  */boot/vmlinuz-*) echo "${image##*/vmlinuz-}" >"$folder/release" ;;
  */modules/*/vmlinuz) basename "$(dirname "$image")" >"$folder/release" ;;
  *) fail "there is no vmlinuz in $package" "adjust the table in fetch-kernel.sh to the package that has it" ;;
  esac
  mv "$image" "$folder/vmlinuz"
  chmod 644 "$folder/vmlinuz"
  keep_modules "$folder"
  rm -rf "$folder/tree"
}

# A folder of an older fetch-kernel.sh, which looked for fewer modules, does not do.
have_kernel() {
  [ -s "$dest/$version/vmlinuz" ] && [ -s "$dest/$version/release" ] &&
    [ "$(cat "$dest/$version/modules/looked-for" 2>/dev/null)" = "$(echo $modules)" ]
}

[ $# -eq 2 ] || fail "two arguments are needed, not $#" "fetch-kernel.sh VERSION DESTDIR"
version=$1
row=$(kernels | awk -F'|' -v v="$version" '$1 == v')
[ -n "$row" ] || fail "kernel '$version' is not in the table" "choose one of $(kernels | cut -d'|' -f1 | xargs)"
IFS='|' read -r _ pattern suites <<<"$row"
need apt-get apt
need dpkg dpkg
need flock util-linux
need xz xz-utils
mkdir -p "$2" || fail "cannot make the folder $2" "choose another one"
dest=$(cd "$2" && pwd)
if have_kernel; then exit 0; fi

# One at a time: runs for different versions share nothing on disk, but two for the same version would download twice.
exec 9>"$dest/.$version.lock"
flock 9
if have_kernel; then exit 0; fi

[ -r "$keyring" ] || fail "$keyring is missing" "apt-get install debian-archive-keyring"
mirrors
rm -rf "$dest/.$version.work."* # of a run that was killed
work=$(mktemp -d "$dest/.$version.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
state=$work/apt
mkdir "$work/new" "$state"

# shellcheck disable=SC2086 # the suites are words
find_package "$pattern" $suites
[ -n "$package" ] || fail "no kernel $version to be had (${troubles#; })" \
  "check the network and the machine's apt sources; when Debian has dropped the package, adjust the table in fetch-kernel.sh"
download_into "$work/new"
# A rename shows others the whole folder or none of it.
rm -rf "${dest:?}/$version"
mv -T "$work/new" "$dest/$version"
echo "kernel $version: $(cat "$dest/$version/release")"
