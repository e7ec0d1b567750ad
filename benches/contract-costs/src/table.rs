//! The table as Markdown.

use stellar::amount;

use crate::ledger::Cost;
use crate::measure::{Batch, Costs};
use crate::throughput::{self, Clusters};

/// Everything that was measured, for `contracts/README.md`.
pub fn markdown(costs: &Costs) -> String {
    let settings = &costs.ledger.settings;
    let limits = &settings.limits;
    let mut text = format!(
        "Made by `cargo run -p contract-costs -- --write`; do not edit. The committed Wasm on the \
         network's own host (protocol 30), with real signatures, under limits and prices that the \
         public network had on {} (`benches/contract-costs/mainnet.json`). Everything is in \
         stroops (1 XLM is 10,000,000). A fee is resources, events and the least inclusion fee of \
         100; rent stands apart. A transaction may take {} instructions, {} entries written, {} \
         bytes written, {} bytes of envelope and {} bytes of events and answer.\n\n",
        settings.read_on,
        thousands(limits.instructions.into()),
        limits.write_entries,
        thousands(limits.write_bytes.into()),
        thousands(limits.transaction_bytes.into()),
        thousands(limits.event_bytes.into()),
    );
    text += "| call | instructions | entries read | bytes read | entries written | bytes written | event bytes | envelope bytes | fee | rent | in XLM |\n";
    text += "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    for (name, cost) in &costs.calls {
        text += &row(name, cost);
    }
    text += "\nBytes read are without code, which the network keeps in memory. Calls of the runner \
             are paid by an account of its own and signed by an authorisation entry; the others \
             are paid by who signs. Users have caps, limits and a fee for the runner: the dearest \
             case.\n";
    text += "\nOne run, opened and settled, all in:\n\n";
    text += "| batch | fee | rent | both | in XLM | fee, of a single run's | the same with persistent records | times as much |\n";
    text += "|---|--:|--:|--:|--:|--:|--:|--:|\n";
    for (whose, batches) in &costs.runs {
        for batch in batches {
            text += &per_run(whose, batch, &batches[0]);
        }
    }
    text += &record(costs);
    text += &throughput(costs);
    text
}

/// What a run takes of each resource, and the runs a ledger that follow.
fn throughput(costs: &Costs) -> String {
    let ledger = &costs.ledger.settings.limits.ledger;
    let mut text = String::from(
        "\nThe share of one run in a batch, opened and settled:\n\n\
         | batch | envelope bytes | bytes written | entries written | instructions | event bytes |\n\
         |---|--:|--:|--:|--:|--:|\n",
    );
    for (whose, batches) in &costs.runs {
        for batch in batches {
            text += &shares(whose, batch);
        }
    }
    text += &format!(
        "\nRuns that one ledger takes by each of its limits ({} bytes of envelopes, {} bytes and \
         {} entries written, {} instructions a cluster), in whole transactions and by what the \
         client declares (a tenth more instructions and a thirty-second more bytes written than \
         simulated). Opens and settlements share accounts and grants: the network runs them in one \
         cluster, or beside each other if their users differ.\n\n\
         | batch | clusters | envelopes | bytes written | entries written | instructions | binding |\n\
         |---|---|--:|--:|--:|--:|---|\n",
        thousands(ledger.transaction_bytes as i64),
        thousands(ledger.write_bytes as i64),
        thousands(ledger.write_entries as i64),
        thousands(ledger.instructions as i64),
    );
    for (whose, batches) in &costs.runs {
        for batch in batches {
            for (clusters, name) in [(Clusters::Together, "one"), (Clusters::Apart, "apart")] {
                let allowed = throughput::allowed(batch, ledger, clusters);
                let binding = throughput::binding(&allowed);
                let cells: String = allowed.iter().map(|by| format!(" {} |", by.runs)).collect();
                let size = size(batch);
                text += &format!(
                    "| {size}, {whose} | {name} |{cells} {}: {} |\n",
                    binding.limit, binding.runs
                );
            }
        }
    }
    text
}

fn shares(whose: &str, batch: &Batch) -> String {
    let of = |part: fn(&Cost) -> u32| {
        let share = |cost: &Cost, runs: usize| f64::from(part(cost)) / runs as f64;
        share(&batch.open, batch.opens) + share(&batch.settle, batch.settlements)
    };
    let whole = |part: fn(&Cost) -> u32| thousands(of(part).ceil() as i64);
    format!(
        "| {}, {whose} | {} | {} | {:.2} | {} | {} |\n",
        size(batch),
        whole(|cost| cost.transaction_bytes),
        whole(|cost| cost.bytes_written),
        of(|cost| cost.entries_written),
        whole(|cost| cost.instructions),
        whole(|cost| cost.event_bytes),
    )
}

fn size(batch: &Batch) -> String {
    match (batch.opens, batch.settlements) {
        (1, 1) => "1".to_owned(),
        (opens, settlements) if opens == settlements => opens.to_string(),
        (opens, settlements) => format!("{opens} opens, {settlements} settlements (the most)"),
    }
}

/// What the record takes, and how the targets are met.
fn record(costs: &Costs) -> String {
    let times = |batches: &[Batch]| {
        let full = batches[batches.len() - 1].per_run();
        full.total_persistent() as f64 / full.total() as f64
    };
    let factors: Vec<f64> = costs.runs.iter().map(|(_, batches)| times(batches)).collect();
    let least = factors.iter().copied().fold(f64::INFINITY, f64::min);
    let most = factors.iter().copied().fold(0.0, f64::max);
    format!(
        "\nA run's record takes {} bytes open and {} settled (target: 350). It lives twice the \
         time to its deadline (here an hour) and six hours, counted in ledgers of one second; as a \
         persistent entry it would have to live 120 days. A run in a full batch costs at most 70 % \
         of a single one, without rent. With rent, persistent records would cost {least:.1} to \
         {most:.1} times as much in full batches; the target is 15, and every batch of five or \
         more meets it. A run by itself costs two transactions, of whose fee the entries written \
         and the bytes of two envelopes are the most; there it is about ten times.\n",
        costs.record.0, costs.record.1
    )
}

fn row(name: &str, cost: &Cost) -> String {
    let total = i128::from(cost.fee + cost.rent);
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        thousands(cost.instructions.into()),
        cost.entries_read,
        thousands(cost.bytes_read.into()),
        cost.entries_written,
        thousands(cost.bytes_written.into()),
        thousands(cost.event_bytes.into()),
        thousands(cost.transaction_bytes.into()),
        thousands(cost.fee),
        thousands(cost.rent),
        amount::format(total),
    )
}

fn per_run(whose: &str, batch: &Batch, single: &Batch) -> String {
    let (one, alone) = (batch.per_run(), single.per_run());
    let size = size(batch);
    format!(
        "| {size}, {whose} | {} | {} | {} | {} | {:.0} % | {} | {:.1} |\n",
        thousands(one.fee),
        thousands(one.rent),
        thousands(one.total()),
        amount::format(one.total().into()),
        one.fee as f64 * 100.0 / alone.fee as f64,
        thousands(one.total_persistent()),
        one.total_persistent() as f64 / one.total() as f64,
    )
}

fn thousands(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
