//! A network inside a program: started, funded, moved in time, broken on purpose, taken back.
//!
//! `cargo run -p soroban-localnet --example embedded`

use soroban_localnet::{Fault, LocalnetError, Network, Profile};

#[tokio::main]
async fn main() -> Result<(), LocalnetError> {
    let network = Network::builder().profile(Profile::Unlimited).start().await?;
    println!("JSON-RPC at {}, passphrase {:?}", network.url(), network.passphrase());

    let account = "GAAZI4TCR3TY5OJHCTJC2A4QSY6CJWJH5IAJTGKIN2ER7LBNVKOCCWN7";
    let hash = network.fund(account).await?;
    println!("funded {account} by transaction {hash}");

    // Ledgers close only by hand: nothing here waits for time to pass.
    let before = network.snapshot();
    network.advance_time(3_600);
    println!("ledger {} closed an hour later", network.close_ledger().await?);

    // What a client does when an answer gets lost can be tried at will.
    network.fault(Fault::DropSendResponses(1));
    network.fault(Fault::DropSendResponses(0));

    network.revert(before).await?;
    println!("back at ledger {}", network.latest_ledger());
    network.shutdown().await;
    Ok(())
}
