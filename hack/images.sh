#!/usr/bin/env bash
# Static programs, each as an image archive evenkeel.local/PROGRAM:VERSION.
#
#   hack/images.sh [PROGRAM...]     controller, proxy, demo and e2e, if none is named
#
# PROFILE chooses the build: image (default, fast to build) or release. IMAGES is the folder ($EVENKEEL_CACHE/images).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/env.sh
profile=${PROFILE:-image} images=${IMAGES:-$EVENKEEL_CACHE/images}
programs=("$@")
((${#programs[@]})) || programs=(controller proxy demo e2e)
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
target=$(rustc -vV | sed -n 's/^host: //p')

packages=("${programs[@]/#/--package=evenkeel-}")
# The end-to-end tests run the command line too, which no image holds.
if [[ " ${programs[*]} " == *' e2e '* ]]; then packages+=(--package=evenkeel); fi
# With --target, flags do not reach build scripts and macros, which cannot be linked statically.
RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile "$profile" --target "$target" \
  "${packages[@]}" --bins
mkdir -p "$images"
for program in "${programs[@]}"; do
  binary=$CARGO_TARGET_DIR/$target/$profile/evenkeel-$program
  hack/image.sh "$images/$program.tar" "evenkeel.local/$program:$version" "/evenkeel-$program" \
    "$binary=/evenkeel-$program"
done
ls -l "$images"/*.tar
