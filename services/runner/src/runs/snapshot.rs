//! The one text by which a run is read with its present attempt, for both `store.rs` files that do.

/// The query up to its `WHERE`.
macro_rules! snapshot_query {
    () => {
        "SELECT r.*, a.nonce, a.terms, a.vault_run_id, a.manifest_hash, a.shipping, a.escrow, \
            a.execute_started_at, a.statement, a.seal, a.settlement, a.usage, a.receipt, \
            a.error_code, a.error, \
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
