-- Judgements that can take long: one row for everything that a result depends on (M10). A PASS is kept; what
-- is no PASS is only there for callers that wait for it or come back for it, and is judged again when asked anew.
CREATE TABLE judgements (
    -- Digest of kind, modules, plan, policy, guard, kernel and runtime.
    key          text        PRIMARY KEY,
    kind         text        NOT NULL CHECK (kind IN ('SHIP', 'ORACLES', 'GATE')),
    -- Rises with every start, so that a holder that was thought dead can't write any more.
    fence        bigint      NOT NULL DEFAULT 0,
    leased_until timestamptz,
    verdict      text        CHECK (verdict IN ('PASS', 'FAIL', 'INCONCLUSIVE')),
    result       bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    CHECK ((result IS NULL) = (verdict IS NULL)),
    CHECK ((result IS NULL) = (finished_at IS NULL))
);

-- What happened in a start of a judgement, in order, for everybody who listens.
CREATE TABLE judgement_steps (
    key   text    NOT NULL REFERENCES judgements (key) ON DELETE CASCADE,
    fence bigint  NOT NULL,
    step  integer NOT NULL CHECK (step > 0),
    body  text    NOT NULL,
    PRIMARY KEY (key, fence, step)
);
