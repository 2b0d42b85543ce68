#!/usr/bin/env bash
# Makes the packages of one architecture: packages.sh amd64|arm64 DIR. From the same commit they are the same to the byte, wherever they
# are made. The version is that of the git tag, or of what comes after it.
set -euo pipefail
arch=$1 out=$(realpath -m "$2")
cd "$(dirname "$0")/.."
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$out" "$stage/man" "$stage/completion"

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
# v1.2.0 is 1.2.0, and 14 commits later it is 1.2.0+14.gabcdef0; before the first tag 0.1.0~14.gabcdef0. Packages of the later one are newer.
commits=$(git rev-list --count HEAD) commit=$(git rev-parse --short=12 HEAD)
if tag=$(git describe --tags --long --match 'v[0-9]*' 2>/dev/null); then
  version=$(sed -E 's/^v(.*)-([0-9]+)-g([0-9a-f]+)$/\1+\2.g\3/; s/\+0\.g[0-9a-f]+$//' <<<"$tag")
else
  version="0.1.0~$commits.g$commit"
fi
version=${CONNPROF_VERSION:-$version}
export SOURCE_DATE_EPOCH CGO_ENABLED=0

GOOS=linux GOARCH=$arch go build -trimpath -ldflags='-s -w -buildid=' -o "$stage/connprof" ./cmd/connprof
go run -trimpath -tags man ./cmd/connprof man "$stage/man"
gzip -9n "$stage"/man/*.1
for shell in bash zsh fish; do
  go run -trimpath ./cmd/connprof completion "$shell" >"$stage/completion/$shell"
done
mv "$stage/completion/bash" "$stage/completion/connprof.bash"
mv "$stage/completion/zsh" "$stage/completion/_connprof"
mv "$stage/completion/fish" "$stage/completion/connprof.fish"
{
  printf 'connprof: https://github.com/connprof/connprof\n\n'
  cat LICENSE
  printf '\nOn Debian systems the text of the GNU General Public License, version 2, is in /usr/share/common-licenses/GPL-2.\n'
} >"$stage/copyright"
maintainer=$(sed -n 's/^maintainer: //p' packaging/nfpm.yaml)
printf 'connprof (%s) unstable; urgency=medium\n\n  * What is new is in CHANGELOG.md.\n\n -- %s  %s\n' "$version" "$maintainer" \
  "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$stage/changelog.gz"
gzip -9nc CHANGELOG.md >"$stage/CHANGELOG.md.gz"
cp -r contrib packaging/connprof-export.service packaging/connprof-export.default "$stage"

# Whoever makes them may have any umask, and has cloned at some time.
find "$stage" -type d -exec chmod 755 {} + && find "$stage" -type f -exec chmod 644 {} + && chmod 755 "$stage/connprof"
find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
config=$(mktemp --suffix=.yaml)
trap 'rm -rf "$stage" "$config"' EXIT
sed "s|\${ARCH}|$arch|; s|\${VERSION}|$version|; s|\${DATE}|$date|; s|\${STAGE}|$stage|g" packaging/nfpm.yaml >"$config"
for kind in deb rpm; do
  go tool -modfile=tools/packages.mod nfpm package --config "$config" --packager "$kind" --target "$out" >/dev/null
done
name=connprof-$version-linux-$arch
tar --create --file=- --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --mode='u=rwX,go=rX' \
  --transform="s,^\./,$name/," -C "$stage" ./connprof ./man ./completion ./contrib | gzip -9n >"$out/$name.tar.gz"
go version -m "$stage/connprof" | sed "1s,.*,$name:," >"$out/$name.sbom.txt"
(cd "$out" && sha256sum -- *"$version"*"$arch"*.deb *.rpm "$name".tar.gz "$name".sbom.txt >"$name.sha256")
