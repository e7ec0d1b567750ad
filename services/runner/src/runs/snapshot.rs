//! The one text by which a run is read with its present attempt, for both `store.rs` files that do.
//!
//! It names its columns. What may be large (the input, module-gate's statements) is not among them:
//! a page of 500 runs would take half a gigabyte with their inputs.

/// The query up to its `WHERE`.
macro_rules! snapshot_query {
    () => {
        "SELECT r.id, r.user_account, r.agent_id, r.rate_version, r.budgets, r.workflow_id, r.label, \
            r.metadata::text AS metadata, r.input_digest, r.seed, r.status, r.phase, r.attempt, \
            r.cancel_requested, r.retry_requested, r.operator_reason, r.failures, r.waiting_for, \
            r.traceparent, r.created_at, r.updated_at, \
            a.nonce, a.terms, a.vault_run_id, a.manifest_hash, a.escrow, a.execute_started_at, \
            a.seal, a.settlement, a.usage, a.receipt, a.error_code, a.error, \
            (SELECT t.hash FROM chain_transactions t WHERE t.run_id = r.id AND t.attempt = r.attempt \
                AND t.kind = 'open' ORDER BY t.state = 'succeeded' DESC, t.id DESC LIMIT 1) \
                AS open_transaction, \
            (SELECT t.hash FROM chain_transactions t WHERE t.run_id = r.id AND t.attempt = r.attempt \
                AND t.kind <> 'open' ORDER BY t.state = 'succeeded' DESC, t.id DESC LIMIT 1) \
                AS closing_transaction \
         FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt"
    };
}

pub(crate) use snapshot_query;
