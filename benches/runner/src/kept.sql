-- Runs that were paid and are kept, with everything that the product keeps of one: FIRST to LAST, the newest last.
CREATE TEMPORARY TABLE kept AS
    SELECT n, gen_random_uuid() AS id, 'GKEPT' || n % 100 AS account, now() - (1000000 - n) * interval '1 second' AS at
    FROM generate_series(FIRST, LAST) AS n;
ANALYZE kept;

INSERT INTO runs (id, user_account, agent_id, budgets, workflow_id, label, input, input_digest, seed, status, phase,
    attempt, lease_token, traceparent, created_at, updated_at, wake_at, turn_at, admitted_at, runner)
SELECT id, account, 1 + n % 10, '{"llm_in":0,"llm_out":0,"http_calls":0,"runtime_ms":20000}', 'profile',
    'the weather of last week', convert_to('{"csv":"' || repeat(md5(id::text), 4) || '"}', 'UTF8'),
    sha256(id::text::bytea), n, 'finalized', 'done', 1, 6,
    '00-' || md5(id::text) || '-00f067aa0ba902b7-01', at, at + interval '12 seconds', at, at, at, 'GRUNNER'
FROM kept;

INSERT INTO attempts (run_id, number, terms, nonce, vault_run_id, deadline, manifest_hash, shipping, escrow,
    execute_started_at, statement, seal, settlement, usage, receipt, created_at, ended_at)
SELECT id, 1, jsonb_build_object('user', account, 'text', repeat(md5(id::text), 14)), sha256(id::text::bytea),
    sha256(('vault ' || id)::bytea), 1800000000 + n, sha256('module'), convert_to(repeat(md5(id::text), 50), 'UTF8'),
    'settled', at + interval '6 seconds', convert_to(repeat(md5('statement ' || id), 80), 'UTF8'),
    jsonb_build_object('seal_digest', repeat(md5(id::text), 2), 'text', repeat(md5(id::text), 6)),
    jsonb_build_object('output_hash', repeat(md5(id::text), 2), 'text', repeat(md5(id::text), 6)),
    '{"llm_in":0,"llm_out":0,"http_calls":0,"runtime_ms":81}',
    jsonb_build_object('actual_charge', '8100', 'text', repeat(md5(id::text), 10)), at, at + interval '12 seconds'
FROM kept;

INSERT INTO idempotency_keys (user_account, key, request_hash, status, response, created_at)
SELECT account, 'kept-' || n, sha256(id::text::bytea), 202,
    jsonb_build_object('id', id, 'text', repeat(md5(id::text), 18)), at
FROM kept;

INSERT INTO outbox_sequences (key, last) SELECT id::text, 5 FROM kept;
INSERT INTO outbox (event_id, subject, body, created_at, position, published_at)
SELECT k.id || ':' || e.number, 'bench.run.' || e.name || '.' || k.id,
    jsonb_build_object('id', k.id || ':' || e.number, 'text', repeat(md5(k.id::text), 18)), k.at,
    nextval('outbox_position'), k.at
FROM kept k, unnest(ARRAY['queued', 'opening', 'running', 'finalizing', 'finalized']) WITH ORDINALITY AS e (name, number)
ORDER BY k.n, e.number;

-- Transactions carry 17 openings or 25 settlements.
CREATE TEMPORARY TABLE carried AS
    SELECT kind, n / most AS batch, sha256((kind || n / most || min(id::text))::bytea) AS hash, min(at) AS at, min(n) AS n
    FROM kept, (VALUES ('open', 17), ('finalize', 25)) AS k (kind, most) GROUP BY kind, n / most;
INSERT INTO chain_transactions (hash, kind, source, sequence, max_time, signed_ledger, envelope, state, sends, result,
    ledger, closed_at, fee_charged, max_fee, created_at, updated_at)
SELECT hash, kind, 'GCHANNEL' || batch % 16, n, 1800000000 + n, 1000 + n / 100,
    convert_to(repeat(encode(hash, 'hex'), 160), 'UTF8'), 'succeeded', 1, hash, 1001 + n / 100, 1800000000 + n, 400000,
    1000000, at, at
FROM carried;

INSERT INTO calls (run_id, attempt, kind, user_account, state, arguments, deadline, wanted_at, updated_at, runner)
SELECT k.id, 1, w.kind, k.account, 'done',
    jsonb_build_object(w.kind, jsonb_build_object('terms', jsonb_build_object('developer', 'GDEVELOPER',
        'text', repeat(md5(k.id::text), 18)))), 1800000000 + k.n, k.at, k.at, 'GRUNNER'
FROM kept k, (VALUES ('open'), ('finalize')) AS w (kind);

ANALYZE carried, calls, chain_transactions;
INSERT INTO transaction_calls (transaction_id, call_id, position, vault_run_id, live, code, result)
SELECT t.id, c.id, row_number() OVER (PARTITION BY t.id ORDER BY c.id), sha256(('vault ' || k.id)::bytea), false, 0,
    convert_to(repeat(md5(k.id::text), 12), 'UTF8')
FROM kept k JOIN calls c ON c.run_id = k.id
    JOIN carried b ON b.kind = c.kind AND b.batch = k.n / CASE c.kind WHEN 'open' THEN 17 ELSE 25 END
    JOIN chain_transactions t ON t.hash = b.hash;

INSERT INTO contract_events (id, contract, name, key, run_id, tx_hash, ledger, closed_at, data, topics, value, seen_at)
SELECT lpad(k.n::text, 19, '0') || '-' || e.name, 'CVAULT', e.name, encode(sha256(('vault ' || k.id)::bytea), 'hex'),
    sha256(('vault ' || k.id)::bytea), sha256(k.id::text::bytea), 1001 + k.n / 100, k.at,
    jsonb_build_object('user', k.account, 'text', repeat(md5(k.id::text), 10)), ARRAY[e.name, md5(k.id::text)],
    repeat(md5(k.id::text), 12), k.at
FROM kept k, unnest(ARRAY['run_opened', 'run_finalized']) AS e (name);

DROP TABLE carried;
DROP TABLE kept;
