//! Accepting runs over HTTP, beside a server of Node's that adds jobs of graphile-worker to the
//! same Postgres.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use testkit::TestDb;

use crate::Options;
use crate::figures::{at_least, at_most, head, ms, ratio, row};
use crate::gateway::{Gateway, Requests, Servers, until_published};
use crate::load::{Seen, Until, closed_loop};
use crate::peer;

/// Clients, and how many times the peer's rate is wanted.
const TARGETS: [(usize, f64); 2] = [(16, 1.8), (128, 3.0)];
/// The round before the first that counts: connections, plans and caches are made.
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures and prints it.
pub async fn measure(options: &Options) -> anyhow::Result<()> {
    peer::install().await?;
    let servers = Servers::start().await?;
    let runner = Gateway::start(&servers).await?;
    let jobs = servers.postgres.database().await?;
    let peer = peer::Server::start(&jobs.url).await?;
    let round = Duration::from_secs(options.seconds);
    let mut ways = [Way::new("runner", runner.address), Way::new("graphile-worker", peer.address)];

    println!("\n## Durable accept over HTTP\n");
    println!("{} rounds of {} s of each way, which alternate.\n", options.rounds, options.seconds);
    head(&["clients", "way", "accepts a second", "p50 ms", "p99 ms", "ratio", "p99, ratio"]);
    for (clients, target) in TARGETS {
        for number in 0..=options.rounds {
            eprintln!("accept: {clients} clients, round {number} of {}", options.rounds);
            // Each is the first as often as the other.
            let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
            for place in order {
                let way = &mut ways[place];
                let lasts = if number == 0 { WARM_UP.min(round) } else { round };
                way.round(clients, number, lasts).await?;
                until_published(&runner.db.pool).await?;
            }
        }
        print(clients, target, &mut ways);
    }
    ways[0].is_stored(&runner.db, "SELECT count(*) FROM runs").await?;
    ways[1].is_stored(&jobs, "SELECT count(*) FROM graphile_worker._private_jobs").await
}

/// A server, and what its clients saw.
struct Way {
    name: &'static str,
    address: SocketAddr,
    /// Of the rounds that count, with the present number of clients.
    seen: Seen,
    /// Of all rounds.
    accepted: usize,
}

impl Way {
    fn new(name: &'static str, address: SocketAddr) -> Self {
        Self { name, address, seen: Seen::default(), accepted: 0 }
    }

    async fn round(&mut self, clients: usize, number: u64, lasts: Duration) -> anyhow::Result<()> {
        let requests = Requests::new(format!("{clients}-{number}"));
        let call = move |number| requests.call(number);
        let seen = closed_loop(self.address, clients, Until::Time(lasts), 202, call).await?;
        self.accepted += seen.times.len();
        if number > 0 {
            self.seen.add(seen);
        }
        Ok(())
    }

    /// What was accepted is in the database.
    async fn is_stored(&self, db: &TestDb, count: &'static str) -> anyhow::Result<()> {
        let stored: i64 = sqlx::query_scalar(count).fetch_one(&db.pool).await?;
        let (name, accepted) = (self.name, self.accepted);
        ensure!(usize::try_from(stored)? == accepted, "{name}: {stored} stored of {accepted}");
        Ok(())
    }
}

fn print(clients: usize, target: f64, ways: &mut [Way; 2]) {
    let [ours, theirs] = ways.each_mut().map(|way| std::mem::take(&mut way.seen));
    let slowest = |seen: &Seen| seen.sorted().quantile(99).as_secs_f64();
    let rates = at_least(ratio(ours.rate(), theirs.rate()), target);
    let times = at_most(ratio(slowest(&ours), slowest(&theirs)), 1.0);
    let ends = [[rates, times], [String::new(), String::new()]];
    for ((way, seen), [rates, late]) in ways.iter().zip([ours, theirs]).zip(ends) {
        let times = seen.sorted();
        row(&[
            clients.to_string(),
            way.name.to_owned(),
            format!("{:.0}", seen.rate()),
            ms(times.quantile(50)),
            ms(times.quantile(99)),
            rates,
            late,
        ]);
    }
}
