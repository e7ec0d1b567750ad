-- Most stroops that a transaction can cost, by the dearest envelope of it that was signed. Empty for
-- what the release before signed.
ALTER TABLE chain_transactions ADD COLUMN max_fee bigint CHECK (max_fee >= 0);
-- What a day has cost is counted before each signature.
CREATE INDEX chain_transactions_by_time ON chain_transactions (created_at);

-- Further envelopes of a transaction, which offer the network more for it. Each is stored before it
-- is sent, and carries the transaction's own envelope: whichever lands, it lands once.
CREATE TABLE fee_bumps (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id bigint      NOT NULL REFERENCES chain_transactions (id) ON DELETE CASCADE,
    -- Of the whole; the transaction inside has its own.
    hash           bytea       NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    envelope       bytea       NOT NULL,
    -- Stroops offered for each operation.
    bid            bigint      NOT NULL CHECK (bid > 0),
    max_fee        bigint      NOT NULL CHECK (max_fee > 0),
    -- Newest ledger known when it was signed.
    signed_ledger  bigint      NOT NULL,
    sends          integer     NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL
);
CREATE INDEX fee_bumps_by_transaction ON fee_bumps (transaction_id, id);
