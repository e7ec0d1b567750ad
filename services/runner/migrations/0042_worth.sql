-- Whose agent an opening is for, so that openings and failures are counted for each developer (V13).
ALTER TABLE calls ADD COLUMN developer text GENERATED ALWAYS AS (
    CASE WHEN kind = 'open' THEN arguments #>> '{open,terms,developer}' END) STORED;
CREATE INDEX calls_opens_by_user ON calls (user_account, wanted_at) WHERE kind = 'open';
CREATE INDEX calls_opens_by_developer ON calls (developer, wanted_at) WHERE kind = 'open';
