-- Logins (R4). A token is good while its session is neither revoked nor over.
CREATE TABLE auth_sessions (
    id             uuid        PRIMARY KEY,
    -- Who proved it: G…, M…, G…:memo or C….
    subject        text        NOT NULL,
    -- The account on the network, G… or C….
    account        text        NOT NULL,
    challenge      bytea       NOT NULL CHECK (octet_length(challenge) = 32),
    -- The number of the newest refresh token. An older one gives a theft away.
    refresh_number bigint      NOT NULL CHECK (refresh_number >= 1),
    created_at     timestamptz NOT NULL,
    rotated_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    revoked_at     timestamptz
);

CREATE INDEX auth_sessions_by_subject ON auth_sessions (subject);
CREATE INDEX auth_sessions_by_end ON auth_sessions (expires_at);

-- Challenges that were answered: each is good once. A row outlives the challenge's own time.
CREATE TABLE auth_challenges (
    digest     bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    expires_at timestamptz NOT NULL
);

CREATE INDEX auth_challenges_by_end ON auth_challenges (expires_at);
