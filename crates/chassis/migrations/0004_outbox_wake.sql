-- Wakes the relay when the transaction commits, if it sleeps.
--
-- A commit that notifies holds one lock of the whole database until its log is on the disk, so that such commits
-- follow one after another. Under load the relay does not sleep, and nothing needs to be notified.
--
-- Before the relay sleeps it takes this lock alone, and looks once more while it holds it. It gets the lock only when
-- no transaction shares it: what those put is committed then, and found by that look. A transaction that does not get
-- a share puts after the relay took it, and notifies.
CREATE FUNCTION outbox_wake() RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_notify('lumio_outbox', current_schema())
    WHERE NOT pg_try_advisory_xact_lock_shared(hashtextextended('sleep of the relay of ' || current_schema(), 0));
$$;

-- As before, but for the last line.
CREATE OR REPLACE FUNCTION outbox_put_first(keys text[], event_ids text[], subjects text[], bodies text[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox_sequences (key, last) SELECT k.key, 1 FROM unnest(keys) AS k (key);
    INSERT INTO outbox (event_id, subject, body)
        SELECT e.event_id, e.subject, e.body
        FROM unnest(event_ids, subjects, bodies) WITH ORDINALITY AS e (event_id, subject, body, place)
        ORDER BY e.place;
    PERFORM outbox_wake();
END $$;
