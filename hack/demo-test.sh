#!/usr/bin/env bash
# `make demo` for a few seconds: every endpoint takes a share, and the fast one takes more than the slow one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
output=$(DEMO_SECONDS=${DEMO_SECONDS:-12} hack/demo.sh)
share() { # of the last table shown, the SHARE of an endpoint, without its per cent sign
  sed -n "s/.* 127\.0\.0\.1:$1 .* \([0-9.]*\)%.*/\1/p" <<<"$output" | tail -n 1
}
fast=$(share 9001) medium=$(share 9002) slow=$(share 9003)
printf 'shares: fast %s%%, medium %s%%, slow %s%%\n' "$fast" "$medium" "$slow"
awk -v fast="$fast" -v medium="$medium" -v slow="$slow" 'BEGIN { exit !(fast > slow && medium > 0 && slow > 0) }' || {
  printf '%s\nhack/demo-test.sh: the shares are not as they should be\n' "$output" >&2
  exit 1
}
