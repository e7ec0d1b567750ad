-- From which ledger on the contracts' events were read: what is proven by their absence needs it. A
-- release that does not know the column begins without it, and then their absence proves nothing.
ALTER TABLE contract_cursors ADD COLUMN first_ledger bigint NOT NULL DEFAULT 4294967295;

-- What `runner reconcile` found, newest last.
CREATE TABLE reconciliations (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL,
    -- Whether it was asked to repair.
    repaired   boolean     NOT NULL,
    -- How many of each were compared: {"records":…,"runs":…,"accounts":…}.
    compared   jsonb       NOT NULL,
    -- [{"kind":…,"run":…,"vaultRunId":…,"user":…,"proof":…,"action":…,"text":…}].
    findings   jsonb       NOT NULL
);
