# shellcheck shell=bash
# Runs the crash matrix whole and writes its page. Sourced by ./dev.

crash_matrix() {
    local commit code=0
    build_binaries
    [ -n "${LUMIO_BUILT:-}" ] || cargo build --locked --quiet -p e2e --bin crash-matrix || die 1 "the build failed"
    commit=$(git rev-parse --short HEAD 2>/dev/null || echo "unknown")
    "$BIN/crash-matrix" --commit "$commit" --write "$REPO/docs/operations/crash-matrix.md" "$@" || code=$?
    case $code in
        0) say "the matrix is clean; docs/operations/crash-matrix.md is written" ;;
        1) die 1 "the matrix is not clean; docs/operations/crash-matrix.md says where" ;;
        *) exit "$code" ;;
    esac
}
