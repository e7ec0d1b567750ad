-- When a run is to start at the earliest, and how urgent it is. Empty: at once, normal.
ALTER TABLE runs ADD COLUMN start_at timestamptz;
ALTER TABLE runs ADD COLUMN priority text CHECK (priority IN ('low', 'normal', 'high'));

-- Its place among those that wait: the moment from which it waits, less the head start of its priority. It does not
-- change while the run waits, so whatever has waited longer than the head start goes first: that is the ageing.
ALTER TABLE runs ADD COLUMN turn_at timestamptz NOT NULL DEFAULT now();
UPDATE runs SET turn_at = created_at WHERE phase <> 'done';

-- When a worker first took the run from the queue, within the limits of its user and its agent. A run of the queue
-- without it holds no place of theirs.
ALTER TABLE runs ADD COLUMN admitted_at timestamptz;
UPDATE runs SET admitted_at = created_at WHERE phase <> 'done' AND (phase <> 'queued' OR EXISTS (
    SELECT 1 FROM calls c WHERE c.run_id = runs.id AND c.state IN ('wanted', 'signed')));

-- Whether it takes one of the places that its user and its agent have. What waits for a person takes none.
ALTER TABLE runs ADD COLUMN under_way boolean NOT NULL GENERATED ALWAYS AS (
    phase NOT IN ('done', 'escrow_open') AND operator_reason IS NULL
    AND (phase <> 'queued' OR admitted_at IS NOT NULL)) STORED;
CREATE INDEX runs_under_way_by_user ON runs (user_account) WHERE under_way;
CREATE INDEX runs_under_way_by_agent ON runs (agent_id) WHERE under_way;

-- wake_at stands last: runs that wait for a later time are passed over without being read.
DROP INDEX runs_claimable;
CREATE INDEX runs_claimable ON runs (rank, turn_at, wake_at) WHERE phase <> 'done' AND operator_reason IS NULL;
