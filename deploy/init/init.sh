#!/bin/sh
# Prepares the local network for Compose: funds the accounts that runner needs and deploys both
# contracts. Repeating it changes nothing. On a network with money, an operator does this once, by
# hand (docs/operations/contracts.md).
set -eu

LUMIO_KEYS_DIR=$(mktemp -d)
export LUMIO_KEYS_DIR
trap 'rm -rf "$LUMIO_KEYS_DIR"' EXIT

import() { printf '%s\n' "$2" | lumio keys import "$1" >/dev/null; }
import runner "$RUNNER_SECRET"
import source "$RUNNER_SOURCE_SECRET"
# Signs the challenges of logins; SEP-10 asks its account for nothing but to exist.
import auth "$RUNNER_AUTH_SECRET"

lumio fund runner source auth
lumio deploy
