-- Accepts what was asked for at one time, as `accept_runs` of migration 0060 does, whose comment says what is answered.
-- That one stays for processes of the release before. What is different:
--
-- Its plans are made once for each connection, perhaps while the tables are empty. So each key and each id is looked up
-- by itself (`LIMIT 1`), in an index: no plan reads a whole table, however few rows it had when the plan was made.
--
-- It does not notify: the engine, which may be another process, is woken after the commit (`runs/signal.rs`). A commit
-- that notifies holds one lock of the whole database until its log is on the disk, so that such commits follow one after
-- another.
CREATE FUNCTION accept_requests(
    ids uuid[], users text[], agents bigint[], rate_versions bigint[], budgets jsonb[], workflows text[],
    labels text[], metadata text[], inputs bytea[], input_digests bytea[], seeds bigint[], traces text[],
    times timestamptz[], subjects text[], starts timestamptz[], priorities text[], head_starts bigint[],
    nonces bytea[], key_owners text[], keys text[], fingerprints bytea[], statuses integer[], responses text[],
    event_ids text[], event_subjects text[], event_bodies text[], refusals boolean[]
) RETURNS TABLE (
    place bigint, outcome text, request_hash bytea, status integer, response text, pause_scope text,
    pause_reason text
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    free     boolean[];
    outcomes text[];
    made     uuid[];
BEGIN
    -- Shared by all who accept runs, and taken alone by whoever pauses them (`operations/intake.rs`).
    PERFORM pg_advisory_xact_lock_shared(7815273027978881390);
    -- Keys are tried, never waited for, so that no two of these transactions wait for each other.
    free := ARRAY(
        SELECT coalesce(pg_try_advisory_xact_lock(
            hashtextextended('idempotency' || E'\n' || w.owner || E'\n' || w.key, 0)), true)
        FROM unnest(key_owners, keys) WITH ORDINALITY AS w (owner, key, place) ORDER BY w.place);

    outcomes := ARRAY(
        SELECT CASE
            WHEN NOT w.free THEN 'in_flight'
            WHEN k.key IS NOT NULL THEN 'answered'
            WHEN w.is_refused THEN 'refused'
            -- Locks of one session do not exclude each other.
            WHEN w.key IS NOT NULL AND row_number() OVER (PARTITION BY w.owner, w.key ORDER BY w.place) > 1
                THEN 'in_flight'
            -- It is stored already, by a transaction whose commit was not confirmed.
            WHEN r.id IS NOT NULL THEN 'accepted'
            WHEN EXISTS (SELECT FROM intake_pauses p WHERE p.scope = 'all'
                OR (p.scope = 'agent' AND p.subject = w.agent::text)
                OR (p.scope = 'user' AND p.subject = w.user_account)) THEN 'paused'
            ELSE 'new' END
        FROM unnest(ids, users, agents, key_owners, keys, refusals, free) WITH ORDINALITY
            AS w (id, user_account, agent, owner, key, is_refused, free, place)
            LEFT JOIN LATERAL (
                SELECT i.key FROM idempotency_keys i WHERE i.user_account = w.owner AND i.key = w.key LIMIT 1) k ON true
            LEFT JOIN LATERAL (SELECT s.id FROM runs s WHERE s.id = w.id LIMIT 1) r ON true
        ORDER BY w.place);

    -- A run that another session is just storing under the same id is the same run: it is waited for.
    WITH stored AS (
        INSERT INTO runs (id, user_account, agent_id, rate_version, budgets, workflow_id, label, metadata, input,
            input_digest, seed, status, phase, attempt, traceparent, created_at, updated_at, subject, start_at,
            priority, wake_at, turn_at)
        SELECT w.id, w.user_account, w.agent, w.rate_version, w.budgets, w.workflow, w.label,
            -- As text: no number of it is ever read.
            w.metadata::json, w.input, w.input_digest, w.seed, 'pending', 'queued', 1, w.trace, w.at, w.at, w.subject,
            w.start_at, w.priority, greatest(now(), w.start_at),
            greatest(now(), w.start_at) - w.head_start * interval '1 second'
        FROM unnest(ids, users, agents, rate_versions, budgets, workflows, labels, metadata, inputs, input_digests,
            seeds, traces, times, subjects, starts, priorities, head_starts, outcomes) WITH ORDINALITY
            AS w (id, user_account, agent, rate_version, budgets, workflow, label, metadata, input, input_digest,
            seed, trace, at, subject, start_at, priority, head_start, outcome, place)
        WHERE w.outcome = 'new' ORDER BY w.place
        ON CONFLICT (id) DO NOTHING
        RETURNING id)
    SELECT array_agg(s.id) INTO made FROM stored s;

    IF made IS NOT NULL THEN
        INSERT INTO attempts (run_id, number, nonce, created_at)
        SELECT w.id, 1, w.nonce, w.at FROM unnest(ids, nonces, times) AS w (id, nonce, at)
        WHERE w.id = ANY (made);

        INSERT INTO idempotency_keys (user_account, key, request_hash, status, response, created_at)
        SELECT w.owner, w.key, w.fingerprint, w.status, w.response::json, w.at
        FROM unnest(ids, key_owners, keys, fingerprints, statuses, responses, times)
            AS w (id, owner, key, fingerprint, status, response, at)
        WHERE w.id = ANY (made) AND w.key IS NOT NULL;

        PERFORM outbox_put_first(array_agg(w.id::text ORDER BY w.place), array_agg(w.event_id ORDER BY w.place),
            array_agg(w.subject ORDER BY w.place), array_agg(w.body ORDER BY w.place))
        FROM unnest(ids, event_ids, event_subjects, event_bodies) WITH ORDINALITY
            AS w (id, event_id, subject, body, place)
        WHERE w.id = ANY (made);
    END IF;

    RETURN QUERY
    SELECT w.place, CASE w.outcome WHEN 'new' THEN 'accepted' ELSE w.outcome END,
        k.request_hash, k.status, k.response::text, p.scope, p.reason
    FROM unnest(users, agents, key_owners, keys, outcomes) WITH ORDINALITY
        AS w (user_account, agent, owner, key, outcome, place)
        LEFT JOIN LATERAL (
            SELECT i.request_hash, i.status, i.response FROM idempotency_keys i
            WHERE w.outcome = 'answered' AND i.user_account = w.owner AND i.key = w.key LIMIT 1) k ON true
        LEFT JOIN LATERAL (
            SELECT i.scope, i.reason FROM intake_pauses i
            WHERE w.outcome = 'paused' AND (i.scope = 'all'
                OR (i.scope = 'agent' AND i.subject = w.agent::text)
                OR (i.scope = 'user' AND i.subject = w.user_account))
            ORDER BY i.scope <> 'all', i.scope LIMIT 1) p ON true
    ORDER BY w.place;
END $$;
