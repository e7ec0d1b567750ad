#!/bin/sh
# One role and one database a service: each owns its own database and cannot connect to another's.
# Run by the image of Postgres when it makes its data folder, and safe to run again, for instance
# after a password was changed.
set -eu

service() {
    # psql reads the password from the environment, so that no list of processes shows it.
    SERVICE_PASSWORD=$2 psql -v ON_ERROR_STOP=1 -q -v name="$1" -U "${POSTGRES_USER:-postgres}" -d postgres <<'SQL'
\getenv password SERVICE_PASSWORD
SELECT format('CREATE ROLE %I LOGIN', :'name') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
-- Everybody may connect to a new database until this is taken back.
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

service runner "${RUNNER_DB_PASSWORD:?run ./dev env-file}"
service oracle_gate "${ORACLE_GATE_DB_PASSWORD:?run ./dev env-file}"
service module_gate "${MODULE_GATE_DB_PASSWORD:?run ./dev env-file}"
