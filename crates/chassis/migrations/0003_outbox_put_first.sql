-- Puts the first facts about entities that the caller's transaction makes: one element of each array for each of
-- them. An entity that is new has no number yet, so that none has to be drawn; one that is not new is an error.
-- What these columns hold is made by `chassis::outbox::first`.
CREATE FUNCTION outbox_put_first(keys text[], event_ids text[], subjects text[], bodies text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox_sequences (key, last) SELECT k.key, 1 FROM unnest(keys) AS k (key);
    INSERT INTO outbox (event_id, subject, body)
        SELECT e.event_id, e.subject, e.body
        FROM unnest(event_ids, subjects, bodies) WITH ORDINALITY AS e (event_id, subject, body, place)
        ORDER BY e.place;
    -- Wakes the relays when the transaction commits.
    PERFORM pg_notify('lumio_outbox', current_schema());
END $$;
