-- Stroops that a transaction was charged, as its result in the ledger says. Empty for what never landed, and
-- for what landed before this column was there.
ALTER TABLE chain_transactions ADD COLUMN fee_charged bigint CHECK (fee_charged >= 0);
