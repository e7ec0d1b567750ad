# shellcheck shell=bash
# Runs the crash matrix whole and writes its page, or single cases of it. Sourced by ./dev.

crash_matrix() {
    local commit argument code=0 write=(--write "$REPO/docs/operations/crash-matrix.md")
    # The page shows the whole matrix, so that single cases do not write it.
    for argument in "$@"; do
        case "$argument" in --list | --case | --case=*) write=() ;; esac
    done
    build_binaries
    [ -n "${LUMIO_BUILT:-}" ] || cargo build --locked --quiet -p e2e --bin crash-matrix || die 1 "the build failed"
    commit=$(git rev-parse --short HEAD 2>/dev/null || echo "unknown")
    "$BIN/crash-matrix" --commit "$commit" "${write[@]}" "$@" || code=$?
    case $code in
        0) [ ${#write[@]} -eq 0 ] || say "the matrix is clean; docs/operations/crash-matrix.md is written" ;;
        1)
            [ ${#write[@]} -eq 0 ] || die 1 "the matrix is not clean; docs/operations/crash-matrix.md says where"
            die 1 "a case is not as it must be"
            ;;
        *) exit "$code" ;;
    esac
}
