#!/usr/bin/env bash
# Static programs, each as an image archive in $EVENKEEL_CACHE/images: evenkeel.local/{controller,proxy,demo,e2e}:VERSION.
# PROFILE chooses the build: image (default, fast to build) or release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/env.sh
profile=${PROFILE:-image}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
target=$(rustc -vV | sed -n 's/^host: //p')

# With --target, flags do not reach build scripts and macros, which cannot be linked statically.
RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile "$profile" --target "$target" \
  -p evenkeel-controller -p evenkeel-proxy -p evenkeel-demo -p evenkeel-e2e --bins
mkdir -p "$EVENKEEL_CACHE/images"
for program in controller proxy demo e2e; do
  binary=$CARGO_TARGET_DIR/$target/$profile/evenkeel-$program
  hack/image.sh "$EVENKEEL_CACHE/images/$program.tar" "evenkeel.local/$program:$version" "/evenkeel-$program" \
    "$binary=/evenkeel-$program"
done
ls -l "$EVENKEEL_CACHE"/images/*.tar
