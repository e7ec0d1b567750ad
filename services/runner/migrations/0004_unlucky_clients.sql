-- What a caller sent is kept as the text it was: jsonb rounds no number, but reorders members, and refuses
-- exponents that the caller may use.
ALTER TABLE runs ALTER COLUMN metadata TYPE json USING metadata::text::json;
ALTER TABLE idempotency_keys ALTER COLUMN response TYPE json USING response::text::json;

-- What is counted in /summary and /health: a few rows, however many runs have ended.
CREATE INDEX runs_unfinished ON runs (status, created_at) WHERE phase <> 'done';
-- Lists by status, and by user and status, newest first.
CREATE INDEX runs_by_status ON runs (status, created_at, id);
CREATE INDEX runs_by_user_and_status ON runs (user_account, status, created_at, id);
-- What `runner runs prune` and the keys' own age look for.
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CREATE INDEX runs_finished ON runs (updated_at) WHERE phase = 'done';
