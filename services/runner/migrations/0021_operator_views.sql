-- What operators list: sealed attempts, the newest first.
CREATE INDEX attempts_sealed ON attempts (created_at, run_id, number) WHERE seal IS NOT NULL;
