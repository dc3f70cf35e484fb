# Rolecall. `just` lists what there is.

# One build folder for all clones of a user.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", cache_directory() / "rolecall" / "target")

services := "-p command-service -p query-service -p projector -p replay -p rolecall-keys -p rolecall-shards"
release := CARGO_TARGET_DIR / "release"

[private]
default:
    @just --list --unsorted

# Start everything and tell the story with real calls; stays up until Ctrl-C (--once: ends by itself)
demo *ARGS: setup programs
    {{ release }}/demo {{ ARGS }}

# Start everything in the background; addresses go to .local/rolecall.env
up: setup programs
    {{ release }}/demo up

# Stop what `just up` started; the data stays in .local/data
down:
    @if [ -x {{ release }}/demo ]; then {{ release }}/demo down; else echo "Rolecall is not up."; fi

# Format, lints and all tests
test: setup
    .ci/setup-tests
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo build --workspace --bins
    just _test

# Kill, freeze and restart everything under load; wants a machine that does nothing else
test-faults: setup
    cargo build --workspace --bins
    cargo test -p tests --test faults

# Random load and random faults by a seed, then the reckoning: docs/fault-campaign.md
faults *ARGS: setup programs
    ROLECALL_PROGRAMS={{ release }} cargo run --release -p faults -- {{ ARGS }}

# Measure against the bare servers, side by side; `just bench in-process` needs none: it measures the engine alone
bench *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    case "{{ ARGS }}" in
        in-process) exec cargo bench -p access --bench in_process ;;
        "") cargo bench -p access --bench in_process ;;
    esac
    just setup programs
    cargo run --release -p bench -- {{ ARGS }}

# Run the replay tool against what `just up` started
replay *ARGS: programs
    #!/usr/bin/env bash
    set -euo pipefail
    test -f .local/rolecall.env || { echo "Rolecall is not up: run just up" >&2; exit 1; }
    . .local/rolecall.env
    export ROLECALL_KAFKA=$KAFKA_BOOTSTRAP ROLECALL_TOPIC_PREFIX=$TOPIC_PREFIX
    export ROLECALL_PLAINTEXT=allowed ROLECALL_KAFKA_SECURITY=plaintext # as what `just up` starts speaks
    export ROLECALL_KEY_ENCRYPTION_KEY_FILE=$KEY_ENCRYPTION_KEY_FILE ROLECALL_INDEX_KEY_FILE=$INDEX_KEY_FILE
    {{ release }}/replay {{ ARGS }}

# Make, rotate or list keys; needs ROLECALL_SIGNING_KEYS and ROLECALL_VERIFYING_KEYS (docs/operating.md)
keys *ARGS: programs
    {{ release }}/rolecall-keys {{ ARGS }}

# Install the Debian packages that building and the local stack need
setup:
    @.ci/setup

[private]
programs:
    cargo build --release {{ services }} -p demo --bins

# One after the other: many start the whole stack, and two of them crowd a small machine.
_test:
    #!/usr/bin/env bash
    set -euo pipefail
    if command -v cargo-nextest > /dev/null; then
        cargo nextest run --workspace --no-fail-fast --profile one-by-one
        cargo test --workspace --doc
    else
        cargo test --workspace --no-fail-fast
    fi
