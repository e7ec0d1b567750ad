-- Whose new runs are refused until an operator resumes them: everybody's, those of one agent, those of one user.
-- Read in the transaction that accepts a run, so that a pause holds for all processes as soon as it is committed.
CREATE TABLE intake_pauses (
    scope     text        NOT NULL CHECK (scope IN ('all', 'agent', 'user')),
    -- The agent's number or the user's account; empty for everybody.
    subject   text        NOT NULL CHECK ((scope = 'all') = (subject = '')),
    -- Shown to those whose runs are refused; foreign text to whoever reads it later.
    reason    text        NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    paused_by text        NOT NULL,
    paused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, subject)
);
