-- What is seen of the network: the events of vault and registry, followed ledger by ledger by one
-- reader a database, and the tables that follow from them.

-- How far the reader is. Every ledger below `next_ledger` is in `contract_events` whole, or in
-- `contract_event_gaps`.
CREATE TABLE contract_cursors (
    network_id  bytea       NOT NULL CHECK (octet_length(network_id) = 32),
    vault       text        NOT NULL,
    registry    text        NOT NULL,
    next_ledger bigint      NOT NULL CHECK (next_ledger >= 1),
    -- Close time of the newest ledger that was read.
    read_until  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (network_id, vault, registry)
);

-- Every event as the network has it. Its id is the network's own, so that no node, restart or
-- repeated answer makes it a second one.
CREATE TABLE contract_events (
    id        text        PRIMARY KEY,
    contract  text        NOT NULL,
    -- As it is published, such as runner_granted; absent for what this release cannot read (V19).
    name      text,
    -- Whom or what it is about: the key of its published form.
    key       text,
    -- The run's id in the vault, where it is about one.
    run_id    bytea       CHECK (octet_length(run_id) = 32),
    tx_hash   bytea       NOT NULL CHECK (octet_length(tx_hash) = 32),
    ledger    bigint      NOT NULL,
    closed_at timestamptz NOT NULL,
    -- What it says, as it is published.
    data      jsonb,
    -- What the network said (XDR in base64), so that a later release can read it again.
    topics    text[]      NOT NULL,
    value     text        NOT NULL,
    seen_at   timestamptz NOT NULL
);

CREATE INDEX contract_events_by_ledger ON contract_events (ledger);
CREATE INDEX contract_events_by_key ON contract_events (key, id);
CREATE INDEX contract_events_by_run ON contract_events (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX contract_events_by_transaction ON contract_events (tx_hash);

-- Ledgers that every node had forgotten before they were read. What follows from state was read
-- anew; the events themselves are lost.
CREATE TABLE contract_event_gaps (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    network_id      bytea       NOT NULL CHECK (octet_length(network_id) = 32),
    first_ledger    bigint      NOT NULL,
    last_ledger     bigint      NOT NULL CHECK (last_ledger >= first_ledger),
    found_at        timestamptz NOT NULL,
    -- When an operator took note of it.
    acknowledged_at timestamptz
);

-- The agents of the registry as of `ledger`.
CREATE TABLE agents (
    registry      text        NOT NULL,
    agent_id      bigint      NOT NULL CHECK (agent_id BETWEEN 0 AND 4294967295),
    developer     text        NOT NULL,
    -- Foreign text (R18).
    metadata_uri  text,
    runners       text[]      NOT NULL,
    -- Ed25519 keys in hex digits.
    attesters     text[]      NOT NULL,
    -- 0 until its first rate card is known.
    rate_version  bigint      NOT NULL CHECK (rate_version >= 0),
    -- {"llm_in":"…","llm_out":"…","http_calls":"…","runtime_ms":"…"}: stroops a unit.
    rates         jsonb,
    manifest_hash bytea       CHECK (octet_length(manifest_hash) = 32),
    ledger        bigint      NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (registry, agent_id)
);

CREATE INDEX agents_by_developer ON agents (developer);

-- What users allow runners. A grant is live while it is neither revoked nor expired, and the
-- registry lists its runner; ledger time decides about expiry.
CREATE TABLE grants (
    vault          text        NOT NULL,
    user_account   text        NOT NULL,
    runner         text        NOT NULL,
    agent_id       bigint      NOT NULL CHECK (agent_id BETWEEN 0 AND 4294967295),
    -- Absent while only limits were ever set.
    serial         bigint,
    -- Unix seconds of ledger time.
    issued_at      bigint,
    expires_at     bigint,
    revoked_at     bigint,
    -- Stroops; 0 is no cap, and no fee.
    per_run_cap    numeric(39),
    total_cap      numeric(39),
    max_runner_fee numeric(39),
    ledger         bigint      NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (vault, user_account, runner, agent_id)
);

CREATE INDEX grants_by_runner ON grants (runner, agent_id);
