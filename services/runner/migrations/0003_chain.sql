-- Every transaction that was ever signed, stored before it was sent.
CREATE TABLE chain_transactions (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash           bytea       NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    run_id         uuid        NOT NULL,
    attempt        integer     NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('open', 'finalize', 'void', 'reclaim')),
    source         text        NOT NULL,
    sequence       bigint      NOT NULL,
    -- Unix seconds of ledger time after which the network refuses it.
    max_time       bigint      NOT NULL,
    -- Newest ledger known when it was signed.
    signed_ledger  bigint      NOT NULL,
    envelope       bytea       NOT NULL,
    state          text        NOT NULL CHECK (state IN
        ('prepared', 'sent', 'unknown', 'succeeded', 'failed', 'expired', 'rejected')),
    sends          integer     NOT NULL DEFAULT 0,
    last_answer    text,
    -- Return value of the transaction that succeeded (ScVal XDR), and when it closed.
    result         bytea,
    ledger         bigint,
    closed_at      bigint,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    FOREIGN KEY (run_id, attempt) REFERENCES attempts (run_id, number)
);

-- One transaction a source, and one a purpose, may be in the air.
CREATE UNIQUE INDEX chain_transactions_one_a_source ON chain_transactions (source)
    WHERE state IN ('prepared', 'sent', 'unknown');
CREATE UNIQUE INDEX chain_transactions_one_a_purpose ON chain_transactions (run_id, attempt, kind)
    WHERE state IN ('prepared', 'sent', 'unknown');
CREATE INDEX chain_transactions_by_run ON chain_transactions (run_id, attempt, kind, id);

-- Transaction source accounts. The lease covers the time between reading a sequence number and
-- storing the envelope that uses it; the indexes above cover the rest.
CREATE TABLE sources (
    account     text        PRIMARY KEY,
    lease_owner text,
    lease_token bigint      NOT NULL DEFAULT 0,
    lease_until timestamptz
);

-- The newest ledger ever seen of a network (R13). Answers from below it are not believed.
CREATE TABLE networks (
    network_id bytea       PRIMARY KEY CHECK (octet_length(network_id) = 32),
    passphrase text        NOT NULL,
    ledger     bigint      NOT NULL,
    closed_at  bigint      NOT NULL,
    updated_at timestamptz NOT NULL
);
