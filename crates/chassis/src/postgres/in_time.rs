//! How long this side waits for an answer of Postgres.
//!
//! Postgres ends what takes too long ([`BOUNDS`](super::BOUNDS)), but can say so only while there
//! is a way between both. A way that drops every packet, and a server that is stopped, leave
//! connections open on which nothing ever comes. The driver (sqlx 0.9.0) waits on them without an
//! end, and offers neither a time limit nor the options of their sockets. So whatever waits for
//! Postgres goes through this module.
//!
//! A statement without an answer fails as one whose connection was lost, and as there, nothing is
//! known of its outcome. Its connection does not get back into the pool: it does not pass the
//! proof there.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _};
use sqlx::postgres::{PgListener, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{
    Connection as _, Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr,
    Transaction,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{ACQUIRE_TIMEOUT, PROOF_TIMEOUT};

/// How much longer than Postgres this side waits. A statement that Postgres ends is told as that,
/// and by the time that this side gives up, Postgres has ended the transaction of a lost
/// connection: what is looked up then does not change any more.
const SLACK: Duration = Duration::from_secs(5);
/// How long Postgres lets a statement run where no pool has said so.
const USUAL: Duration = Duration::from_secs(30);
/// How long a statement is waited for that Postgres does not bound.
pub const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// How long a connection that waits for notifications may be silent before it is asked whether it
/// still works.
const SILENCE: Duration = Duration::from_secs(10);

/// The longest `statement_timeout` of the pools of this process, in milliseconds; 0 before there is
/// one. A connection does not say to which pool it belongs.
static STATEMENT_MS: AtomicU64 = AtomicU64::new(0);

tokio::task_local! {
    static LIMIT: Duration;
}

/// Has every statement in `work` waited for no longer than `limit`: shorter for whoever has a
/// caller who waits, longer where Postgres is asked for something that takes long. It does not
/// reach tasks that `work` starts.
pub async fn with_limit<F: Future>(limit: Duration, work: F) -> F::Output {
    LIMIT.scope(limit, work).await
}

/// How long the present task waits for an answer.
pub(super) fn limit() -> Duration {
    let of_statements = || match STATEMENT_MS.load(Ordering::Relaxed) {
        0 => USUAL + SLACK,
        ms => Duration::from_millis(ms) + SLACK,
    };
    LIMIT.try_with(|limit| *limit).unwrap_or_else(|_| of_statements())
}

/// Learns how long Postgres lets the statements of this pool run.
pub(super) async fn learn_limit(db: &PgPool) -> sqlx::Result<()> {
    let setting = "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'";
    let found: String = sqlx::query_scalar(setting).fetch_one(in_time(db)).await?;
    let longest = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
    // 0 is no bound.
    let ms = found.parse::<u64>().ok().filter(|ms| *ms > 0).unwrap_or(longest);
    STATEMENT_MS.fetch_max(ms.min(longest), Ordering::Relaxed);
    Ok(())
}

/// The result of `work`, or an error if it takes longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(no_answer()))
}

/// The error of a statement without an answer: it counts as an outage.
fn no_answer() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "Postgres did not answer in time").into()
}

/// A pool or a connection whose statements are not waited for without an end. Every statement of a
/// service is executed on one.
pub fn in_time<E>(executor: E) -> InTime<E> {
    InTime(executor)
}

/// See [`in_time()`].
#[derive(Debug)]
pub struct InTime<E>(E);

impl<'c, E> Executor<'c> for InTime<E>
where
    E: Executor<'c, Database = Postgres>,
{
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, Q>(
        self,
        query: Q,
    ) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'c: 'e,
        Q: 'q + Execute<'q, Postgres>,
    {
        let limit = limit();
        let answers = Some(self.0.fetch_many(query));
        // Each answer has its time: what the caller does between two of them does not count.
        stream::unfold(answers, move |answers| async move {
            let mut answers = answers?;
            let next = timeout(limit, answers.next()).await;
            match next {
                Ok(answer) => answer.map(|answer| (answer, Some(answers))),
                Err(_) => Some((Err(no_answer()), None)),
            }
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, Q>(self, query: Q) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        Q: 'q + Execute<'q, Postgres>,
    {
        within(limit(), self.0.fetch_optional(query)).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        within(limit(), self.0.prepare_with(sql, parameters)).boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        within(limit(), self.0.describe(sql)).boxed()
    }
}

/// Commits. After an error nothing is known: the transaction may have been committed.
///
/// # Errors
///
/// The driver's own, or no answer in time.
pub async fn commit(tx: Transaction<'_, Postgres>) -> sqlx::Result<()> {
    within(limit(), tx.commit()).await
}

/// Rolls back.
///
/// # Errors
///
/// The driver's own, or no answer in time. The connection is not used again then, so that nothing
/// of the transaction stays.
pub async fn rollback(tx: Transaction<'_, Postgres>) -> sqlx::Result<()> {
    within(limit(), tx.rollback()).await
}

/// Begins a transaction on a connection that is the caller's own, which the caller closes after an
/// error. For one of a pool: [`begin`](super::begin).
///
/// # Errors
///
/// The driver's own, or no answer in time.
pub async fn begin_on(conn: &mut PgConnection) -> sqlx::Result<Transaction<'_, Postgres>> {
    within(limit(), conn.begin()).await
}

/// What Postgres announces on one channel.
#[derive(Debug)]
pub struct Listener {
    listener: PgListener,
    /// When the connection has to show that it works.
    proof_due: Instant,
}

impl Listener {
    /// Begins to listen, on a connection beside those of the pool: one that has fallen silent is
    /// given up without a place of the pool with it.
    ///
    /// # Errors
    ///
    /// The driver's own, or no answer in time.
    pub async fn connect(db: &PgPool, channel: &str) -> sqlx::Result<Self> {
        let options = (*db.connect_options()).clone();
        let own = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
        let own = own.connect_lazy_with(options);
        let mut listener = within(limit(), PgListener::connect_with(&own)).await?;
        within(limit(), listener.listen(channel)).await?;
        Ok(Self { listener, proof_due: Instant::now() + SILENCE })
    }

    /// Waits for the next announcement; also returns when one may have been missed, as the
    /// connection was made anew. It may be dropped at any moment.
    ///
    /// # Errors
    ///
    /// When the connection is lost or does not work any more.
    pub async fn recv(&mut self) -> sqlx::Result<()> {
        loop {
            let heard = timeout_at(self.proof_due, self.listener.try_recv()).await;
            if let Ok(heard) = heard {
                heard?;
                self.proof_due = Instant::now() + SILENCE;
                return Ok(());
            }
            // The time for the proof is not counted anew when this is dropped and called again.
            let proof = sqlx::raw_sql("SELECT 1").execute(&mut self.listener);
            let proof = timeout_at(self.proof_due + PROOF_TIMEOUT, proof).await;
            proof.unwrap_or_else(|_| Err(no_answer()))?;
            self.proof_due = Instant::now() + SILENCE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{Kind, kind};

    #[tokio::test(start_paused = true)]
    async fn what_never_answers_is_an_outage_after_the_limit() {
        let began = Instant::now();
        let ended = with_limit(Duration::from_secs(8), async {
            within(limit(), std::future::pending::<sqlx::Result<()>>()).await
        });
        let error = ended.await.unwrap_err();
        let taken = began.elapsed();
        assert!(taken >= Duration::from_secs(8) && taken < Duration::from_secs(9), "{taken:?}");
        assert_eq!(kind(&error), Kind::Outage);
    }

    #[tokio::test]
    async fn this_side_waits_longer_than_postgres_and_within_a_limit_as_that_says() {
        assert!(limit() > USUAL);
        let brief = Duration::from_millis(1);
        assert_eq!(with_limit(brief, async { limit() }).await, brief);
        let nested = with_limit(brief, with_limit(LONGEST, async { limit() }));
        assert_eq!(nested.await, LONGEST);
    }
}
