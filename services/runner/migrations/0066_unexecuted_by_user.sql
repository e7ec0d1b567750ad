-- What waits for executors, user by user: how many runs, and how long they take one after the other, cautiously. What
-- was never measured takes `unmeasured_ms`. Whoever needs the whole and its parts adds the parts up: reading the
-- unfinished runs is what costs.
CREATE FUNCTION unexecuted_by_user(unmeasured_ms bigint)
RETURNS TABLE (user_account text, runs bigint, ms bigint)
LANGUAGE sql STABLE AS $$
    SELECT u.user_account, count(*),
        sum(greatest(coalesce(u.cautious_ms, unmeasured_ms), u.running_ms))::bigint
    FROM unexecuted_runs u
    GROUP BY u.user_account
$$;

-- The whole of it, and how many modules are executed at one time: at least `executions`, those of the engine that asks.
CREATE OR REPLACE FUNCTION opened_ahead(executions bigint, unmeasured_ms bigint)
RETURNS TABLE (runs bigint, ms bigint, places bigint)
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(u.runs), 0)::bigint, coalesce(sum(u.ms), 0)::bigint,
        greatest((SELECT w.places FROM working_executors w), executions)
    FROM unexecuted_by_user(unmeasured_ms) u
$$;
