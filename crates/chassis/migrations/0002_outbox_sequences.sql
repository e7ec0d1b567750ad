-- The number of the last fact about each entity: the part after the colon of an event's id.
CREATE TABLE outbox_sequences (
    key  text PRIMARY KEY,
    last bigint NOT NULL CHECK (last > 0)
);

-- Go on from what was published before: every row of the outbox is kept, so it knows the numbers.
INSERT INTO outbox_sequences (key, last)
SELECT regexp_replace(event_id, ':[0-9]+$', ''), max(substring(event_id FROM ':([0-9]+)$')::bigint)
FROM outbox
WHERE event_id ~ ':[0-9]{1,18}$'
GROUP BY 1;
