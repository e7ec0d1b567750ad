# shellcheck shell=bash disable=SC2154  # the files that ./dev sources share their variables
# Records what Postgres says about every SQL statement that the compiler checks. Sourced by ./dev.

# Crates whose statements are recorded, each with the folders of the migrations that make its
# tables, in order. The record of a crate lies in its folder .sqlx and is read by sqlx's macros, so
# that a build needs no database.
SQLX_CRATES=(
    "crates/chassis crates/chassis/migrations"
    "services/module-gate crates/chassis/migrations services/module-gate/migrations"
    "services/oracle-gate crates/chassis/migrations services/oracle-gate/migrations"
    "services/runner crates/chassis/migrations services/runner/migrations"
)

record_statements() {
    choose_ports
    RUN=$DEV_HOME/sqlx-run
    rm -rf "$RUN"
    prepare_run_folder
    trap 'stop_started; rm -rf "$RUN"' EXIT
    start_postgres -c fsync=off

    local entry crate name folder file url
    for entry in "${SQLX_CRATES[@]}"; do
        crate=${entry%% *} name=$(basename "${entry%% *}")
        grep -rqE 'sqlx::query(_as|_scalar|_file)*!' "$crate/src" || continue
        say "recording the statements of $name"

        # A database with exactly the tables of this crate.
        url="postgres://lumio:$POSTGRES_PASSWORD@127.0.0.1:$PG_PORT"
        "$TOOLS/pg/bin/psql" -qX -v ON_ERROR_STOP=1 "$url/postgres" -c "CREATE DATABASE \"$name\"" || die 2 "the database $name could not be made"
        for folder in ${entry#* }; do
            for file in "$folder"/*.sql; do
                "$TOOLS/pg/bin/psql" -qX -v ON_ERROR_STOP=1 "$url/$name" -f "$file" || die 1 "the migration $file does not apply"
            done
        done

        # The macros ask the database while they are expanded, and write what it answered.
        local fresh=$RUN/sqlx-$name
        mkdir -p "$fresh"
        touch "$crate/src/lib.rs"
        DATABASE_URL=$url/$name SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$fresh cargo check --quiet --locked -p "$name" --lib ||
            die 1 "a statement of $name does not fit its tables"
        mkdir -p "$crate/.sqlx"
        rm -f "$crate"/.sqlx/query-*.json
        cp "$fresh"/query-*.json "$crate/.sqlx/"
        # What the macros of chassis asked, where it was built along: its own folder has that.
        [ "$name" = chassis ] || for file in crates/chassis/.sqlx/query-*.json; do
            rm -f "$crate/.sqlx/$(basename "$file")"
        done
        # What was compiled with this database is compiled again without it, before a crate that
        # uses it is recorded.
        touch "$crate/src/lib.rs"
        cargo check --quiet --locked -p "$name" --lib || die 1 "$name does not compile with its record"
    done
    say "recorded; commit the folders .sqlx"
}
