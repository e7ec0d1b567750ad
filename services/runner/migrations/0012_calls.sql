-- What a run wants done on chain stands apart from the transactions that carry it (R17): a run that
-- waits for the chain is held by no worker, and one transaction may carry many calls of one kind.

-- One wish of one attempt: to be opened, settled, voided or reclaimed, once.
CREATE TABLE calls (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id         uuid        NOT NULL,
    attempt        integer     NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('open', 'finalize', 'void', 'reclaim')),
    -- Batches are fair between users.
    user_account   text        NOT NULL,
    -- wanted: nothing that was signed for it can land. signed: in a live transaction. late, withdrawn:
    -- nothing was done, and nothing will be signed unless it is wanted again.
    state          text        NOT NULL CHECK (state IN
        ('wanted', 'signed', 'done', 'refused', 'late', 'unknown', 'withdrawn')),
    -- Frozen when it is wanted, as JSON. Calls that are older than this table have none: they are
    -- followed to their end, and never signed again.
    arguments      jsonb,
    -- Unix seconds of ledger time. Of an opening it is fixed when it is signed, and forgotten only
    -- when it is proven that nothing was done.
    deadline       bigint,
    -- It was done; it is signed again only to hear the answer that the vault keeps.
    repeats        boolean     NOT NULL DEFAULT false,
    -- Calls of a transaction that failed as a whole: they share a transaction with each other only.
    bundle         bigint,
    failures       integer     NOT NULL DEFAULT 0,
    not_before     timestamptz NOT NULL DEFAULT now(),
    -- While a sender signs it. Nothing depends on it but double work.
    reserved_until timestamptz,
    -- The number of the vault's error that refused it, and whether no repetition changes it.
    error          bigint,
    is_final       boolean,
    words          text,
    wanted_at      timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (run_id, attempt) REFERENCES attempts (run_id, number),
    UNIQUE (run_id, attempt, kind)
);
CREATE INDEX calls_wanted ON calls (kind, id) WHERE state = 'wanted';

-- Which calls a transaction carries, and what became of each in it.
CREATE TABLE transaction_calls (
    transaction_id bigint  NOT NULL REFERENCES chain_transactions (id),
    call_id        bigint  NOT NULL REFERENCES calls (id),
    position       integer NOT NULL,
    -- Every id that was signed for an attempt is kept.
    vault_run_id   bytea   CHECK (octet_length(vault_run_id) = 32),
    -- Until the call's part of the transaction's end is known.
    live           boolean NOT NULL,
    -- What the vault answered for it: 0, or an error's number.
    code           bigint,
    -- What the call answered (ScVal XDR), if it was done.
    result         bytea,
    PRIMARY KEY (transaction_id, call_id)
);
-- A call is in at most one transaction that may land.
CREATE UNIQUE INDEX transaction_calls_one_live ON transaction_calls (call_id) WHERE live;
CREATE INDEX transaction_calls_by_call ON transaction_calls (call_id, transaction_id);

-- Source accounts. Whoever holds the lease may sign for the account and sends what was signed; that
-- it has one live transaction at most is the index chain_transactions_one_a_source.
CREATE TABLE channels (
    account     text        PRIMARY KEY,
    lease_owner text,
    lease_token bigint      NOT NULL DEFAULT 0,
    lease_until timestamptz
);
INSERT INTO channels (account, lease_token) SELECT account, lease_token FROM sources;
-- The release before signs only with a source that it has leased. It must not sign for what is
-- carried here, which it does not see: no source is ever free for it again.
UPDATE sources SET lease_owner = 'channels', lease_token = lease_token + 1, lease_until = 'infinity';

-- A transaction belongs to its calls. Rows of the release before keep what they have.
ALTER TABLE chain_transactions ALTER COLUMN run_id DROP NOT NULL;
ALTER TABLE chain_transactions ALTER COLUMN attempt DROP NOT NULL;

-- What is under way is carried over: for each purpose a call, whose newest transaction decides.
INSERT INTO calls (run_id, attempt, kind, user_account, state, deadline)
SELECT t.run_id, t.attempt, t.kind, r.user_account,
    CASE
        WHEN t.state = 'succeeded' THEN 'done'
        WHEN t.state IN ('prepared', 'sent', 'unknown') THEN 'signed'
        -- It ended without effect. If its run still waits for it, what follows is judged anew.
        WHEN r.attempt = t.attempt AND r.phase = CASE t.kind
            WHEN 'open' THEN 'opening' WHEN 'finalize' THEN 'settling'
            WHEN 'void' THEN 'voiding' ELSE 'reclaiming' END THEN 'signed'
        ELSE 'withdrawn'
    END,
    a.deadline
FROM (SELECT DISTINCT ON (run_id, attempt, kind) * FROM chain_transactions
        ORDER BY run_id, attempt, kind, id DESC) AS t
    JOIN runs r ON r.id = t.run_id
    JOIN attempts a ON a.run_id = t.run_id AND a.number = t.attempt;

INSERT INTO transaction_calls (transaction_id, call_id, position, vault_run_id, live, code, result)
SELECT t.id, c.id, 0, coalesce(t.vault_run_id, a.vault_run_id),
    c.state = 'signed' AND t.id = (SELECT max(n.id) FROM chain_transactions n
        WHERE n.run_id = t.run_id AND n.attempt = t.attempt AND n.kind = t.kind),
    CASE WHEN t.state = 'succeeded' THEN 0 ELSE t.contract_error END, t.result
FROM chain_transactions t
    JOIN calls c ON c.run_id = t.run_id AND c.attempt = t.attempt AND c.kind = t.kind
    JOIN attempts a ON a.run_id = t.run_id AND a.number = t.attempt;
