-- Inputs that were stored before their run was asked for (R12). The bytes are oracle-gate's; here is
-- whose they are, so that no account can name another's, and how much an account has stored.
CREATE TABLE inputs (
    -- The account, or the part of one, that stored it; empty where callers do not log in.
    owner      text        NOT NULL,
    digest     bytea       NOT NULL CHECK (octet_length(digest) = 32),
    -- In bytes.
    length     bigint      NOT NULL CHECK (length BETWEEN 1 AND 8388608),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (owner, digest)
);

CREATE INDEX inputs_by_age ON inputs (owner, created_at);

-- The old bound is narrower, so that no row has to be looked at.
ALTER TABLE runs DROP CONSTRAINT runs_input_check;
ALTER TABLE runs ADD CONSTRAINT runs_input_check CHECK (octet_length(input) <= 8388608) NOT VALID;
