//! A way to a server that can be made silent, as a process is that was stopped and not ended.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// An address by which the server at `upstream` (host and port) is reached until the token is
/// cancelled. From then on no byte passes in either direction: open connections stay open, and new
/// ones are accepted.
///
/// # Panics
///
/// When no port can be had.
pub async fn hanging(upstream: &str) -> (SocketAddr, CancellationToken) {
    let upstream = upstream.to_owned();
    let listener = TcpListener::bind(crate::ANY_PORT).await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let hangs = CancellationToken::new();
    let hung = hangs.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (hung, upstream) = (hung.clone(), upstream.clone());
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(upstream).await else { return };
                tokio::select! {
                    biased;
                    () = hung.cancelled() => {}
                    _ = copy_bidirectional(&mut client, &mut server) => return,
                }
                // Both connections stay open and neither end is notified.
                std::future::pending::<()>().await;
            });
        }
    });
    (address, hangs)
}
