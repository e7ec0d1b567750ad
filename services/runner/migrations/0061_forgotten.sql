-- A transaction that can no longer land, and of which the node has forgotten whether it did. Until
-- now such a one was `expired`, the state of a transaction that is proven not to have landed. What
-- its calls did is read from contract state, as before.
ALTER TABLE chain_transactions DROP CONSTRAINT chain_transactions_state_check;
ALTER TABLE chain_transactions ADD CONSTRAINT chain_transactions_state_check CHECK (state IN
    ('prepared', 'sent', 'unknown', 'succeeded', 'failed', 'expired', 'forgotten', 'rejected'));

UPDATE chain_transactions SET state = 'forgotten'
WHERE state = 'expired' AND last_answer = 'the node''s history does not reach back to it';
