-- What the relay publishes next, in order: it has a position, and is not published.
CREATE INDEX IF NOT EXISTS outbox_drawn ON outbox (position) WHERE published_at IS NULL AND position IS NOT NULL;
