-- What an attempt asked of named services, as its execution statement says it: a few sums for each. Kept beside
-- the statement, which may be large and is not read for lists. Empty for what was executed before this column.
ALTER TABLE attempts ADD COLUMN upstreams jsonb;
