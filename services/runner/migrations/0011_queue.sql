-- Who is served first: what ends an escrow before what begins one, so that no executed run misses
-- its deadline behind new ones.
ALTER TABLE runs ADD COLUMN rank smallint GENERATED ALWAYS AS (
    CASE phase
        WHEN 'settling'   THEN 0
        WHEN 'voiding'    THEN 0
        WHEN 'reclaiming' THEN 1
        WHEN 'opening'    THEN 2
        WHEN 'sealing'    THEN 3
        WHEN 'executing'  THEN 4
        ELSE 5
    END) STORED;
-- A run that can go on only when a transaction source is free is left alone until one is: no worker
-- claims it to find that out.
ALTER TABLE runs ADD COLUMN needs_source boolean NOT NULL DEFAULT true;
UPDATE runs SET needs_source = (phase = 'queued') WHERE phase <> 'done';

DROP INDEX runs_claimable;
CREATE INDEX runs_claimable ON runs (rank, wake_at) WHERE phase <> 'done' AND operator_reason IS NULL;

-- The number of the contract error by which a transaction that landed did nothing.
ALTER TABLE chain_transactions ADD COLUMN contract_error bigint;
-- Every id that was signed for an attempt: a run whose first signature could not land is opened with
-- another deadline, and so with another id.
ALTER TABLE chain_transactions ADD COLUMN vault_run_id bytea CHECK (octet_length(vault_run_id) = 32);

-- Who asked for the run, where that is a part of an account (M… or G…:memo): such a caller sees its own
-- runs only, not those of the whole account (R4).
ALTER TABLE runs ADD COLUMN subject text;
CREATE INDEX runs_by_subject ON runs (subject, created_at, id) WHERE subject IS NOT NULL;
