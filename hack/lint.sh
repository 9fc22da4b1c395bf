#!/usr/bin/env bash
# What CI checks before it builds anything large: formatting, lints, licences and sources, conventions, generated files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/env.sh
deny_version=0.20.2

cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
cargo xtask tidy
cargo xtask generate --check
hack/generate-manifests.sh --check

deny=$EVENKEEL_CACHE/cargo/cargo-deny-$deny_version/bin/cargo-deny
if [[ ! -x $deny ]]; then
  cargo install cargo-deny --version "$deny_version" --locked --root "$EVENKEEL_CACHE/cargo/cargo-deny-$deny_version"
fi
"$deny" --workspace check bans licenses sources
