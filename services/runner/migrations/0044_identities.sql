-- Several runner keys at one time, for the replacement of a key. Which of them a run belongs to: the
-- one that opened it, or is to open it. Only an engine with that key can settle it.
ALTER TABLE runs ADD COLUMN runner text;
ALTER TABLE calls ADD COLUMN runner text;

-- Which keys have an engine, and when it was last seen.
CREATE TABLE identities (
    runner  text        PRIMARY KEY,
    seen_at timestamptz NOT NULL
);
-- Those that are served now. An engine says so every few seconds.
CREATE VIEW served_identities AS
    SELECT runner FROM identities WHERE seen_at > now() - interval '1 minute';

-- What is under way belongs to whom it was opened by.
UPDATE runs r SET runner = a.terms->>'opened_by' FROM attempts a
    WHERE r.phase <> 'done' AND a.run_id = r.id AND a.number = r.attempt AND a.terms IS NOT NULL;
UPDATE calls c SET runner = coalesce(a.terms->>'opened_by', c.arguments #>> '{open,terms,opened_by}')
    FROM attempts a
    WHERE c.state = 'wanted' AND a.run_id = c.run_id AND a.number = c.attempt;
