//! A way to a server that can be made silent, as a process is that was stopped and not ended.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::TestDb;

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

/// A way to a database that can fall silent and come back. Connections that were there, or were
/// made, while it was silent stay open and silent, as after a router has forgotten them.
#[derive(Debug)]
pub struct SilentWay {
    /// The database, by this way.
    pub url: String,
    silent: watch::Sender<bool>,
}

impl SilentWay {
    /// A way on which everything passes.
    ///
    /// # Panics
    ///
    /// When no port can be had, or the database's URL is not one.
    pub async fn to(db: &TestDb) -> Self {
        let listener = TcpListener::bind(crate::ANY_PORT).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (silent, is_silent) = watch::channel(false);

        let mut url = url::Url::parse(&db.url).expect("a database has a URL");
        let folder = url.query_pairs().find(|(name, _)| name == "host");
        let folder = folder.map(|(_, folder)| folder.into_owned());
        let host = url.host_str().unwrap_or("localhost").to_owned();
        let port = url.port().unwrap_or(5432);
        url.set_query(None);
        url.set_host(Some(&address.ip().to_string())).expect("an address is a host");
        url.set_port(Some(address.port())).expect("a database's URL may have a port");

        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (is_silent, folder, host) = (is_silent.clone(), folder.clone(), host.clone());
                tokio::spawn(async move {
                    match folder {
                        Some(folder) => {
                            let socket = format!("{folder}/.s.PGSQL.{port}");
                            pass(client, UnixStream::connect(socket).await, is_silent).await;
                        }
                        None => {
                            pass(client, TcpStream::connect((host, port)).await, is_silent).await
                        }
                    }
                });
            }
        });
        Self { url: url.into(), silent }
    }

    /// From now on no byte passes.
    pub fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// New connections work again.
    pub fn come_back(&self) {
        self.silent.send_replace(false);
    }
}

async fn pass<S>(
    mut client: TcpStream,
    server: std::io::Result<S>,
    mut is_silent: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(mut server) = server else { return };
    let falls_silent = async {
        drop(is_silent.wait_for(|silent| *silent).await);
    };
    tokio::select! {
        biased;
        () = falls_silent => {}
        _ = copy_bidirectional(&mut client, &mut server) => return,
    }
    // Both connections stay open and neither end is notified.
    std::future::pending::<()>().await;
}
