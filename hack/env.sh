# shellcheck shell=bash
# Sourced by the scripts here, in the root of the checkout: where big build results lie.
: "${EVENKEEL_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel}"
# Cargo tells the crates of two checkouts apart by time stamps alone, so each checkout builds in its own ./target. CI's are
# always fresh, newer than anything built before, and share one folder.
if [[ -z ${CARGO_TARGET_DIR:-} ]]; then
  if [[ ${CI:-} == true ]]; then CARGO_TARGET_DIR=$EVENKEEL_CACHE/target; else CARGO_TARGET_DIR=$PWD/target; fi
fi
export EVENKEEL_CACHE CARGO_TARGET_DIR
