//! A service of the network, as good or as bad as a test needs it: what it answers is written byte
//! by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Such as `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Arrived {
    /// The first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// One thing that the service does with its connection.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits.
    Pause(Duration),
    /// Closes its half.
    CloseHalf,
    /// Ends the connection with a reset.
    Reset,
    /// Keeps the connection open for another request.
    KeepOpen,
}

type Answer = dyn Fn(&Arrived) -> Vec<Step> + Send + Sync;

/// A running service. It ends when it is dropped.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// A whole answer with a length.
pub fn answer(status: &str, kind: &str, body: impl AsRef<[u8]>) -> Vec<Step> {
    let body = body.as_ref();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    vec![Step::Send([head.as_bytes(), body].concat()), Step::KeepOpen]
}

/// A whole answer of JSON.
pub fn json(value: &serde_json::Value) -> Vec<Step> {
    answer("200 OK", "application/json", value.to_string())
}

/// The head of a stream of events, and each of `events` as a piece of its own; it ends with the
/// connection.
pub fn events<'e>(events: impl IntoIterator<Item = &'e str>) -> Vec<Step> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let events = events.into_iter().map(|event| Step::Send(format!("{event}\n\n").into_bytes()));
    std::iter::once(Step::Send(head.as_bytes().to_vec())).chain(events).collect()
}

/// Starts a service.
///
/// # Panics
/// No port is free.
pub fn upstream(answer: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static) -> Upstream {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let (log, ends) = (Arc::clone(&arrived), Arc::clone(&stop));
    let answer: Arc<Answer> = Arc::new(answer);
    let accepting = thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if ends.load(Ordering::Relaxed) {
                return;
            }
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            // What a client does to its connection is no concern of the service.
            thread::spawn(move || drop(serve(stream, &log, &*answer)));
        }
    });
    Upstream { address, arrived, stop, accepting: Some(accepting) }
}

impl Upstream {
    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that arrived so far.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Arrived>>, answer: &Answer) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(request) = read(&mut reader)? {
        log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let mut open = false;
        for step in answer(&request) {
            match step {
                Step::Send(bytes) => writer.write_all(&bytes)?,
                Step::Pause(time) => thread::sleep(time),
                Step::CloseHalf => writer.shutdown(Shutdown::Write)?,
                Step::Reset => {
                    // Unread or unsent data is thrown away, and the peer gets a reset.
                    rustix::net::sockopt::set_socket_linger(&writer, Some(Duration::ZERO))?;
                    return Ok(());
                }
                Step::KeepOpen => open = true,
            }
        }
        if !open {
            return Ok(());
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Arrived>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => break,
        }
    }
    let mut request = Arrived { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    request.body.resize(length.unwrap_or(0), 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}
