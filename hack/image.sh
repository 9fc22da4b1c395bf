#!/usr/bin/env bash
# Writes an image archive from statically linked programs, without a container engine.
#
#   hack/image.sh OUT.tar NAME:TAG ENTRYPOINT[,ARGUMENT...] FILE=/PATH...
#
# `docker load`, `kind load image-archive` and `ctr images import` take it. The same files give the same bytes, whoever
# owns them and whenever they were built. The image has one layer, runs as user 65532, and holds nothing but the FILEs.
set -euo pipefail

fail() { echo "hack/image.sh: $*" >&2; exit 1; }

# What folder $1 holds, as a tar in which nothing depends on who packs it and when.
pack() {
  (cd "$1" && tar --create --format=gnu --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -- *)
}

digest() { sha256sum "$1" | cut -d ' ' -f 1; }

architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) fail "no image name is known for the architecture $(uname -m)" ;;
  esac
}

main() {
  (($# >= 4)) || { sed -n '2,7s/^# \?//p' "$0" >&2; exit 2; }
  local out=$1 name=$2 entrypoint=$3 work file layer config
  shift 3
  # What goes into the JSON below must not need quoting.
  [[ $name =~ ^[a-z0-9._/-]+(:[0-9]+)?[a-z0-9._/-]*:[A-Za-z0-9._-]+$ ]] || fail "not an image name with a tag: $name"
  [[ $entrypoint =~ ^/[A-Za-z0-9._/,=:-]+$ ]] || fail "not an absolute path with arguments: $entrypoint"
  work=$(mktemp -d -t evenkeel-image.XXXXXX)
  # shellcheck disable=SC2064 # $work is local: expand it now
  trap "rm -rf '$work'" EXIT

  mkdir "$work/root" "$work/archive"
  for file; do
    [[ $file == *=/* ]] || fail "not FILE=/PATH: $file"
    [[ -f ${file%%=*} ]] || fail "no such file: ${file%%=*}"
    mkdir -p "$work/root$(dirname "${file#*=}")"
    cp -L "${file%%=*}" "$work/root${file#*=}"
  done
  pack "$work/root" >"$work/layer.tar"
  layer=$(digest "$work/layer.tar")
  printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Entrypoint":["%s"],"User":"65532:65532","WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(architecture)" "${entrypoint//,/\",\"}" "$layer" >"$work/config.json"
  config=$(digest "$work/config.json")

  mv "$work/layer.tar" "$work/archive/$layer.tar"
  mv "$work/config.json" "$work/archive/$config.json"
  printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["%s.tar"]}]' "$config" "$name" "$layer" >"$work/archive/manifest.json"
  # Renamed into place: who loads OUT while it is written anew gets the old or the new archive.
  pack "$work/archive" >"$out.$$"
  mv "$out.$$" "$out"
}

main "$@"
