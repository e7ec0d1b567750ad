-- One row for each attempt of a run that was to be sealed: first the intent with everything needed to
-- complete it, then the result. The nonce tells, after a crash, whether the seal in the store is this
-- row's.
CREATE TABLE seals (
    run_id          uuid        NOT NULL,
    attempt         integer     NOT NULL CHECK (attempt > 0),
    statement       bytea       NOT NULL,
    shipping        bytea       NOT NULL,
    workflow_id     text        NOT NULL,
    plan            bytea       NOT NULL,
    record          bytea       NOT NULL,
    nonce           text        NOT NULL,
    policy_rev      text        NOT NULL,
    catalogue       bytea       NOT NULL,
    gate_map        bytea       NOT NULL,
    traceparent     text,
    created_at      timestamptz NOT NULL,
    settled_at      timestamptz,
    pack_id         bytea,
    seal_digest     bytea,
    manifest_digest bytea,
    seal_status     text CHECK (seal_status IN ('SEALED_OK', 'SEALED_FAILED')),
    facts_ref       text,
    check_status    text CHECK (check_status IN ('OK', 'WARN', 'FAIL')),
    check_reasons   text[],
    existed         boolean,
    PRIMARY KEY (run_id, attempt),
    CHECK ((settled_at IS NULL) = (seal_digest IS NULL)),
    CHECK ((seal_digest IS NULL) = (pack_id IS NULL))
);

CREATE INDEX seals_open ON seals (created_at) WHERE settled_at IS NULL;
CREATE UNIQUE INDEX seals_pack ON seals (pack_id);

-- The number of the last event told about a pack.
CREATE TABLE pack_events (
    pack_id bytea  PRIMARY KEY,
    last    bigint NOT NULL
);
