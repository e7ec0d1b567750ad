-- Facts on their way to the bus. A row is put in the transaction that makes the fact true and stays
-- after publishing, so that a stream can be filled again.
--
-- IF NOT EXISTS: databases made before this migration was the chassis' own have the same table.
CREATE TABLE IF NOT EXISTS outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     text NOT NULL UNIQUE,
    subject      text NOT NULL,
    body         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- Drawn by the relay when it publishes: the order in which others may count on seeing facts (R14).
    position     bigint UNIQUE,
    published_at timestamptz
);

CREATE SEQUENCE IF NOT EXISTS outbox_position;

CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (id) WHERE published_at IS NULL;
