-- A run as it was asked for, and where it stands. Money and proof belong to its attempts.
CREATE TABLE runs (
    id               uuid        PRIMARY KEY,
    user_account     text        NOT NULL,
    agent_id         bigint      NOT NULL CHECK (agent_id BETWEEN 0 AND 4294967295),
    rate_version     bigint      CHECK (rate_version BETWEEN 1 AND 4294967295),
    budgets          jsonb       NOT NULL,
    workflow_id      text,
    label            text,
    metadata         jsonb,
    -- Canonical JSON (RFC 8785).
    input            bytea       NOT NULL CHECK (octet_length(input) <= 1048576),
    input_digest     bytea       NOT NULL CHECK (octet_length(input_digest) = 32),
    seed             bigint      NOT NULL CHECK (seed BETWEEN 0 AND 9007199254740991),
    status           text        NOT NULL CHECK (status IN
        ('pending', 'opening', 'running', 'finalizing', 'finalized', 'failed', 'cancelled')),
    phase            text        NOT NULL CHECK (phase IN
        ('queued', 'opening', 'executing', 'sealing', 'settling', 'voiding', 'reclaiming',
         'escrow_open', 'done')),
    attempt          integer     NOT NULL CHECK (attempt >= 1),
    cancel_requested boolean     NOT NULL DEFAULT false,
    -- A retry that was asked for while the escrow of the attempt before is still open (R2, R3).
    retry_requested  boolean     NOT NULL DEFAULT false,
    -- Set when only a person can tell what happened (R13). No worker takes such a run.
    operator_reason  text,
    -- Tries of the present phase that came to nothing.
    failures         integer     NOT NULL DEFAULT 0,
    waiting_for      text,
    wake_at          timestamptz NOT NULL DEFAULT now(),
    lease_owner      text,
    -- Fencing token: grows with every claim and never goes back (R1).
    lease_token      bigint      NOT NULL DEFAULT 0,
    lease_until      timestamptz,
    events           bigint      NOT NULL DEFAULT 0,
    traceparent      text        NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CHECK ((phase = 'done') = (status IN ('finalized', 'cancelled') OR (status = 'failed' AND phase = 'done')))
);

CREATE INDEX runs_claimable ON runs (wake_at) WHERE phase <> 'done' AND operator_reason IS NULL;
CREATE INDEX runs_by_age ON runs (created_at, id);
CREATE INDEX runs_by_user ON runs (user_account, created_at, id);

-- One try of a run (R2): nothing of a former try is ever used again.
CREATE TABLE attempts (
    run_id             uuid        NOT NULL REFERENCES runs (id),
    number             integer     NOT NULL CHECK (number >= 1),
    -- What was pinned when the run was opened (V5), as JSON; empty until then.
    terms              jsonb,
    nonce              bytea       NOT NULL UNIQUE CHECK (octet_length(nonce) = 32),
    vault_run_id       bytea       UNIQUE CHECK (octet_length(vault_run_id) = 32),
    -- Unix seconds of ledger time.
    deadline           bigint,
    manifest_hash      bytea       CHECK (octet_length(manifest_hash) = 32),
    -- module-gate's signed verdict on the module (R8), as it came.
    shipping           bytea,
    escrow             text        NOT NULL DEFAULT 'none' CHECK (escrow IN
        ('none', 'open', 'settled', 'returned')),
    execute_started_at timestamptz,
    -- module-gate's signed execution statement (M12), as it came.
    statement          bytea,
    seal               jsonb,
    -- Usage and output hash, frozen before the first signature (R13).
    settlement         jsonb,
    usage              jsonb,
    receipt            jsonb,
    error_code         text,
    error              text,
    created_at         timestamptz NOT NULL,
    ended_at           timestamptz,
    PRIMARY KEY (run_id, number)
);

-- What was answered to a request with an Idempotency-Key (R5). Keys belong to a user.
CREATE TABLE idempotency_keys (
    user_account text        NOT NULL,
    key          text        NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_hash bytea       NOT NULL CHECK (octet_length(request_hash) = 32),
    status       integer     NOT NULL,
    response     jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (user_account, key)
);
