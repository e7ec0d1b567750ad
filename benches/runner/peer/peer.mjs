// graphile-worker on the Postgres of DATABASE_URL, measured beside the runner.
//
//   node peer.mjs serve                 POST adds a job; the first line of output is the port
//   node peer.mjs work JOBS TASK        prints {"jobs":…,"seconds":…}; TASK is nothing, rows or wake
import { createServer } from 'node:http';
import { performance } from 'node:perf_hooks';
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import pg from 'pg';

// The sizes that graphile-worker's own page about performance uses.
const CONCURRENCY = 24;
const CONNECTIONS = CONCURRENCY + 1;
const LOCAL_QUEUE = 500;

const pgPool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: CONNECTIONS });
// A connection that breaks fails the statement that it is used for, which is reported there.
pgPool.on('error', () => {});
pgPool.on('connect', (client) => client.on('error', () => {}));
const logger = new Logger(() => (level, message) => {
  if (level === 'error' || level === 'warning') console.error(message);
});

const TABLES = `
  CREATE TABLE IF NOT EXISTS peer_runs (
    id uuid PRIMARY KEY, phase text NOT NULL, input bytea NOT NULL, updated_at timestamptz NOT NULL);
  CREATE TABLE IF NOT EXISTS peer_sequences (key text PRIMARY KEY, last bigint NOT NULL);
  CREATE TABLE IF NOT EXISTS peer_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id text NOT NULL UNIQUE,
    subject text NOT NULL, body text NOT NULL, created_at timestamptz NOT NULL DEFAULT now())`;

// Three rows beside the two of graphile-worker itself, which locks a job and deletes it.
const ROWS = `
  WITH moved AS (UPDATE peer_runs SET phase = 'opening', updated_at = now()
      WHERE id = $1 AND phase = 'queued' RETURNING id),
    numbered AS (INSERT INTO peer_sequences AS s (key, last) SELECT id::text, 1 FROM moved
      ON CONFLICT (key) DO UPDATE SET last = s.last + 1 RETURNING key, last)
  INSERT INTO peer_outbox (event_id, subject, body)
  SELECT key || ':' || last, 'peer.run.opening.' || key, $2 FROM numbered`;
const ROWS_AND_WAKE = `
  WITH moved AS (UPDATE peer_runs SET phase = 'opening', updated_at = now()
      WHERE id = $1 AND phase = 'queued' RETURNING id),
    numbered AS (INSERT INTO peer_sequences AS s (key, last) SELECT id::text, 1 FROM moved
      ON CONFLICT (key) DO UPDATE SET last = s.last + 1 RETURNING key, last),
    put AS (INSERT INTO peer_outbox (event_id, subject, body)
      SELECT key || ':' || last, 'peer.run.opening.' || key, $2 FROM numbered)
  SELECT pg_notify('peer_work', '')`;
const TASKS = { nothing: null, rows: ROWS, wake: ROWS_AND_WAKE };
// As long as an event of a run.
const EVENT = JSON.stringify({ specversion: '1.0', data: 'x'.repeat(480) });

async function serve() {
  const utils = await makeWorkerUtils({ pgPool, logger });
  await utils.migrate();
  const server = createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', async () => {
      let status = 202;
      let answer;
      try {
        const job = await utils.addJob('run', JSON.parse(Buffer.concat(pieces).toString()));
        answer = JSON.stringify({ id: job.id, status: 'pending' });
      } catch (error) {
        status = 503;
        answer = JSON.stringify({ detail: String(error) });
      }
      response.writeHead(status, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(answer),
      });
      response.end(answer);
    });
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
}

async function work(jobs, task) {
  const text = TASKS[task];
  const utils = await makeWorkerUtils({ pgPool, logger });
  await utils.migrate();
  await pgPool.query(TABLES);
  await pgPool.query('TRUNCATE peer_runs');
  await pgPool.query(
    `INSERT INTO peer_runs SELECT gen_random_uuid(), 'queued', convert_to(repeat('x', 200), 'UTF8'), now()
     FROM generate_series(1, $1::integer)`,
    [jobs],
  );
  await pgPool.query(
    `SELECT count(*) FROM graphile_worker.add_jobs((SELECT array_agg(json_populate_record(
       null::graphile_worker.job_spec,
       json_build_object('identifier', 'run', 'payload', json_build_object('id', id)))) FROM peer_runs))`,
  );
  await pgPool.query('ANALYZE');

  let done = 0;
  const { promise, resolve } = Promise.withResolvers();
  const taskList = {
    run: async ({ id }) => {
      if (text) await pgPool.query({ name: task, text, values: [id, EVENT] });
      done += 1;
      if (done === jobs) resolve();
    },
  };
  const worker = {
    concurrentJobs: CONCURRENCY,
    localQueue: { size: LOCAL_QUEUE },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  };
  const begun = performance.now();
  const runner = await run({ pgPool, logger, taskList, noHandleSignals: true, preset: { worker } });
  await promise;
  // It deletes what was done last.
  await runner.stop();
  const seconds = (performance.now() - begun) / 1000;
  const { rows } = await pgPool.query(
    `SELECT (SELECT count(*) FROM graphile_worker._private_jobs)::integer AS left,
       (SELECT count(*) FROM peer_runs WHERE phase = 'opening')::integer AS moved`,
  );
  if (rows[0].left !== 0 || (text && rows[0].moved !== jobs)) {
    throw new Error(`not every job was done: ${JSON.stringify(rows[0])} of ${jobs}`);
  }
  console.log(JSON.stringify({ jobs, seconds }));
  await utils.release();
  await pgPool.end();
}

const [mode, jobs, task] = process.argv.slice(2);
if (mode === 'serve') await serve();
else await work(Number(jobs), task);
