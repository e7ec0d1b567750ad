-- How far openings may be ahead of executions. A run has a deadline from its opening on: one that no executor comes to
-- in time is paid for, and given back.

-- What executions on an agent take, in milliseconds, from the first request to module-gate until what is settled is
-- frozen. `mean_ms` is the mean of the last ones. `cautious_ms` is never below the newest and comes down slowly, from
-- the time that a module may take at most: little is known of an agent whose first executions were short.
CREATE TABLE execution_times (
    agent_id    bigint      PRIMARY KEY,
    mean_ms     bigint      NOT NULL,
    cautious_ms bigint      NOT NULL,
    measured_at timestamptz NOT NULL
);

-- The engines, and how many modules each of them runs at one time. An engine says so every few seconds.
CREATE TABLE executors (
    owner   text        PRIMARY KEY,
    places  bigint      NOT NULL,
    seen_at timestamptz NOT NULL
);
-- How many modules run at one time; null if no engine works.
CREATE VIEW working_executors AS
    SELECT sum(places)::bigint AS places FROM executors WHERE seen_at > now() - interval '30 seconds';

-- Runs that are opened, or whose opening is in a transaction or just being signed, and that were not executed yet.
-- Ranks 2 to 4 are those of the phases opening, sealing and executing. `running_ms` is for how long the oldest
-- execution of the same agent has been running. A run whose key no engine has waits for no executor.
CREATE VIEW unexecuted_runs AS
    SELECT r.id, r.user_account, r.agent_id, t.mean_ms, t.cautious_ms,
        (1000 * max(extract(epoch FROM now() - a.execute_started_at)) OVER (PARTITION BY r.agent_id))::bigint
            AS running_ms
    FROM (SELECT id FROM runs WHERE phase <> 'done' AND operator_reason IS NULL AND rank BETWEEN 2 AND 4
            UNION SELECT run_id FROM calls WHERE state = 'wanted' AND kind = 'open' AND reserved_until > now()) u
        JOIN runs r ON r.id = u.id
        JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
        LEFT JOIN calls c ON c.run_id = r.id AND c.attempt = r.attempt AND c.kind = 'open'
        LEFT JOIN execution_times t ON t.agent_id = r.agent_id
    WHERE (r.phase IN ('executing', 'sealing') OR c.state <> 'wanted' OR c.reserved_until > now())
        AND (r.runner IS NULL OR EXISTS (SELECT 1 FROM served_identities i WHERE i.runner = r.runner));

-- How many they are, how long they take one after the other, cautiously, and how many are executed at one time: at
-- least `executions`, those of the engine that asks. What was never measured takes `unmeasured_ms`.
CREATE FUNCTION opened_ahead(executions bigint, unmeasured_ms bigint)
RETURNS TABLE (runs bigint, ms bigint, places bigint)
LANGUAGE sql STABLE AS $$
    SELECT count(*), coalesce(sum(greatest(coalesce(u.cautious_ms, unmeasured_ms), u.running_ms)), 0)::bigint,
        greatest((SELECT w.places FROM working_executors w), executions)
    FROM unexecuted_runs u
$$;

-- The oldest run of each user that waits, whoever else has how many runs before it. wake_at stands last, as in
-- runs_claimable: runs that wait for a later time are passed over without being read.
CREATE INDEX IF NOT EXISTS runs_waiting_by_user ON runs (user_account, turn_at, wake_at)
    WHERE phase = 'queued' AND operator_reason IS NULL;
