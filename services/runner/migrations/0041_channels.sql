-- Channels that an operator adds while runners run. Their keys are derived from the key of the
-- account that pays for them and a number: nothing secret is kept here.
ALTER TABLE channels ADD COLUMN payer text;
ALTER TABLE channels ADD COLUMN number integer CHECK (number >= 0);
-- added: wanted, and not on the network yet. active: carries transactions. draining: takes no more
-- calls. drained: its account is gone.
ALTER TABLE channels ADD COLUMN state text NOT NULL DEFAULT 'active'
    CHECK (state IN ('added', 'active', 'draining', 'drained'));
CREATE UNIQUE INDEX channels_by_payer ON channels (payer, number) WHERE payer IS NOT NULL;

ALTER TABLE chain_transactions DROP CONSTRAINT chain_transactions_kind_check;
ALTER TABLE chain_transactions ADD CONSTRAINT chain_transactions_kind_check
    CHECK (kind IN ('open', 'finalize', 'void', 'reclaim', 'channel'));

-- What moves lumens between a channel and the account that pays for it, once. Carried out by
-- whoever holds the source's channel, in transactions that are kept like all others.
CREATE TABLE channel_orders (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind           text        NOT NULL CHECK (kind IN ('create', 'pay', 'merge')),
    -- Signs, and pays the fee.
    source         text        NOT NULL REFERENCES channels (account),
    -- Gets the lumens.
    destination    text        NOT NULL,
    -- Of a merge it is all that there is.
    stroops        bigint      CHECK (stroops > 0),
    -- wanted: nothing that was signed for it can land. unknown: whether it was done cannot be known.
    state          text        NOT NULL CHECK (state IN
        ('wanted', 'signed', 'done', 'failed', 'unknown')),
    transaction_id bigint      REFERENCES chain_transactions (id),
    words          text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'merge') = (stroops IS NULL))
);
CREATE INDEX channel_orders_open ON channel_orders (source, id)
    WHERE state IN ('wanted', 'signed');
