-- One row per attempt of a run, written before anything is executed (R11). A row without a statement
-- is unfinished: whoever holds the lease is at it, and with no live lease it may be started again.
CREATE TABLE executions (
    run_id         uuid        NOT NULL,
    attempt        integer     NOT NULL CHECK (attempt > 0),
    request_digest text        NOT NULL,
    module_digest  text        NOT NULL,
    accepted_at    timestamptz NOT NULL DEFAULT now(),
    -- Rises with every start, so that a holder that was thought dead can't write any more.
    fence          bigint      NOT NULL DEFAULT 0,
    leased_until   timestamptz,
    verdict        text        CHECK (verdict IN ('PASS', 'FAIL', 'INCONCLUSIVE')),
    code           text,
    statement      bytea,
    finished_at    timestamptz,
    PRIMARY KEY (run_id, attempt),
    CHECK ((statement IS NULL) = (verdict IS NULL)),
    CHECK ((statement IS NULL) = (finished_at IS NULL))
);

CREATE INDEX executions_unfinished ON executions (accepted_at) WHERE statement IS NULL;

-- Every shipping verdict that was signed. The newest conclusive one of a module counts (R8).
CREATE TABLE shippings (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    module_digest text        NOT NULL,
    verdict       text        NOT NULL CHECK (verdict IN ('PASS', 'FAIL', 'INCONCLUSIVE')),
    code          text,
    statement     bytea       NOT NULL,
    issued_at     timestamptz NOT NULL
);

CREATE INDEX shippings_newest ON shippings (module_digest, id DESC) WHERE verdict <> 'INCONCLUSIVE';

-- How many events each entity has had: the sequence in an event's id.
CREATE TABLE event_counters (
    key  text   PRIMARY KEY,
    last bigint NOT NULL
);
