//! The load client: speaks to an `ext_authz` server over TCP as Envoy does, and checks every
//! response.
//!
//! A closed loop of connections × streams on one thread, directly on the `h2` crate, so that the
//! client is not the bottleneck. It checks the `grpc-status` of each response and decodes and
//! checks its message (see `request.rs`); a message equal to one already checked for the same key
//! is not decoded again. It prints the results as one line of JSON; a wrong response ends the run
//! with exit code 1. `load keys` writes the matching key file.
#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    reason = "a program of the bench: it may panic, print, and reads the real clock"
)]

mod coalesce;
mod keys;
mod request;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::future::poll_fn;
use std::io::BufWriter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use clap::{Args, Parser, Subcommand};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::task::LocalSet;

use coalesce::Coalesced;
use request::{Expected, Template, check, refusal};

/// Load for an `ext_authz` server, and the keys for it.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a key file.
    Keys {
        /// How many keys.
        count: usize,
        /// Where to.
        file: PathBuf,
        /// Make the digests keyed, under the pepper in this file.
        #[arg(long)]
        pepper_file: Option<PathBuf>,
    },
    /// Send requests and check the responses.
    Run(Run),
}

#[derive(Args)]
struct Run {
    /// The server's gRPC address.
    address: SocketAddr,
    /// The expected responses.
    #[arg(long, value_enum, default_value = "full")]
    expect: Expected,
    /// Send this many requests, instead of sending for a fixed time.
    #[arg(long)]
    count: Option<u64>,
    /// Send for this long.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Send for this long before counting.
    #[arg(long, default_value_t = 0.0)]
    warm_up: f64,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Streams of each connection, each with one request at a time.
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Each request presents one of this many keys, at random.
    #[arg(long, default_value_t = 1)]
    keys: usize,
    /// All but one in this many requests present a made-up secret, a different one each time, and
    /// must be refused.
    #[arg(long)]
    flood: Option<u64>,
}

/// State that the streams share; they run on one thread.
struct Shared {
    expected: Expected,
    template: Template,
    request: Request<()>,
    secrets: Vec<[u8; keys::SECRET_LENGTH]>,
    /// By key: the last response that was checked.
    checked: RefCell<Vec<Bytes>>,
    random: Cell<u64>,
    remaining: Cell<u64>,
    counted_from: Instant,
    until: Option<Instant>,
    failed: Cell<u64>,
    flood: Option<u64>,
    /// How often made-up secrets were refused, by reason.
    refused: RefCell<BTreeMap<String, u64>>,
    nanoseconds: RefCell<Vec<u32>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse().command {
        Command::Keys {
            count,
            file,
            pepper_file,
        } => {
            let file = BufWriter::new(File::create(file)?);
            Ok(keys::write(count, pepper_file.as_deref(), file)?)
        }
        Command::Run(run) => runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(LocalSet::new().run_until(drive(run))),
    }
}

async fn drive(run: Run) -> Result<(), Box<dyn Error>> {
    // An unknown key is one past those of the file.
    let secrets: Vec<_> = match run.expect {
        Expected::Deny => vec![keys::secret(usize::MAX)],
        Expected::Full | Expected::Public | Expected::Allow => {
            (0..run.keys).map(keys::secret).collect()
        }
    };
    let mut connections = Vec::new();
    for _ in 0..run.connections {
        connections.push(connect(run.address).await?);
    }
    let started = Instant::now();
    let counted_from = started + Duration::from_secs_f64(run.warm_up);
    let shared = Rc::new(Shared {
        expected: run.expect,
        template: Template::new(run.expect),
        request: check_call(run.address)?,
        checked: RefCell::new(vec![Bytes::new(); secrets.len()]),
        secrets,
        random: Cell::new(0x9e37_79b9_7f4a_7c15),
        remaining: Cell::new(run.count.unwrap_or(u64::MAX)),
        counted_from,
        until: run
            .count
            .is_none()
            .then(|| counted_from + Duration::from_secs_f64(run.seconds)),
        failed: Cell::new(0),
        flood: run.flood,
        refused: RefCell::default(),
        nanoseconds: RefCell::new(Vec::with_capacity(1 << 20)),
    });
    let streams: Vec<_> = connections
        .iter()
        .flat_map(|connection| (0..run.streams).map(|_| connection.clone()))
        .map(|connection| tokio::task::spawn_local(stream(connection, Rc::clone(&shared))))
        .collect();
    for stream in streams {
        stream.await?;
    }
    report(&shared)
}

/// One stream: sends requests one after the other until the time or the requests are used up.
async fn stream(mut connection: SendRequest<Bytes>, shared: Rc<Shared>) {
    loop {
        let sent = Instant::now();
        let remaining = shared.remaining.get();
        if remaining == 0 || shared.until.is_some_and(|until| sent >= until) {
            return;
        }
        shared.remaining.set(remaining - 1);

        let made_up = shared
            .flood
            .is_some_and(|one_in| !remaining.is_multiple_of(one_in));
        let checked = if made_up {
            // Numbers far beyond those of any key file, each used once.
            let secret = keys::secret(usize::MAX - remaining as usize);
            match call(&mut connection, &shared, &secret).await {
                Ok(message) => shared.check_made_up(&message),
                Err(error) => Err(error.to_string()),
            }
        } else {
            let key = shared.pick();
            match call(&mut connection, &shared, &shared.secrets[key]).await {
                Ok(message) => shared.check(key, &message),
                Err(error) => Err(error.to_string()),
            }
        };
        if sent >= shared.counted_from {
            let took = u32::try_from(sent.elapsed().as_nanos()).unwrap_or(u32::MAX);
            shared.nanoseconds.borrow_mut().push(took);
        }
        if let Err(wrong) = checked {
            let failed = shared.failed.get() + 1;
            shared.failed.set(failed);
            if failed == 1 {
                println!("{}", serde_json::json!({ "wrong": wrong }));
            }
            // A failure repeats, so the rest of the run is worthless.
            shared.remaining.set(0);
        }
    }
}

/// One Check call, to the end of its trailers.
async fn call(
    connection: &mut SendRequest<Bytes>,
    shared: &Shared,
    secret: &[u8; keys::SECRET_LENGTH],
) -> Result<Bytes, Box<dyn Error>> {
    let message = shared.template.message(secret);
    poll_fn(|context| connection.poll_ready(context)).await?;
    let (response, mut body) = connection.send_request(shared.request.clone(), false)?;
    body.send_data(message, true)?;
    let response = response.await?;
    if response.status() != 200 {
        return Err(format!("HTTP status {}", response.status()).into());
    }
    let (head, mut body) = response.into_parts();
    let mut message = Bytes::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        if message.is_empty() {
            message = part;
        } else {
            let mut whole = BytesMut::from(message);
            whole.extend_from_slice(&part);
            message = whole.freeze();
        }
    }
    // Without a message, the head may be the trailers.
    let trailers: HeaderMap = body.trailers().await?.unwrap_or(head.headers);
    match trailers.get("grpc-status") {
        Some(status) if status == "0" => Ok(message),
        status => Err(format!("grpc-status {status:?} {:?}", trailers.get("grpc-message")).into()),
    }
}

impl Shared {
    /// A random key (splitmix64, with the same seed in every run).
    fn pick(&self) -> usize {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % self.secrets.len() as u64) as usize
    }

    fn check_made_up(&self, message: &Bytes) -> Result<(), String> {
        let reason = refusal(message)?;
        *self.refused.borrow_mut().entry(reason).or_default() += 1;
        Ok(())
    }

    fn check(&self, key: usize, message: &Bytes) -> Result<(), String> {
        let mut checked = self.checked.borrow_mut();
        if checked[key] != *message || message.is_empty() {
            check(self.expected, key, message)?;
            // The bytes are copied, so as not to keep the connection's whole read buffer alive.
            checked[key] = Bytes::copy_from_slice(message);
        }
        Ok(())
    }
}

/// An h2 connection that is driven until it is dropped.
async fn connect(address: SocketAddr) -> Result<SendRequest<Bytes>, Box<dyn Error>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let tcp = Coalesced::new(tcp);
    // Envoy's own windows, which are large enough.
    let handshake = h2::client::Builder::new()
        .initial_window_size(16 << 20)
        .initial_connection_window_size(24 << 20)
        .enable_push(false)
        .handshake(tcp.clone());
    // The preface of the handshake leaves with the first request.
    let (client, connection) = handshake.await?;
    tokio::task::spawn_local(async move {
        let mut connection = pin!(connection);
        // An error of the connection is also one of each stream, and reported there.
        poll_fn(|context| tcp.drive(connection.as_mut(), context)).await;
    });
    Ok(client)
}

/// The head of Envoy's call, with the metadata that Envoy sends.
fn check_call(address: SocketAddr) -> Result<Request<()>, http::Error> {
    Request::post(format!(
        "http://{address}/envoy.service.auth.v3.Authorization/Check"
    ))
    .header("te", "trailers")
    .header("content-type", "application/grpc")
    .header("grpc-timeout", "10000m")
    .header("x-envoy-internal", "true")
    .header("x-forwarded-for", "10.1.0.7")
    .header("x-envoy-expected-rq-timeout-ms", "10000")
    .body(())
}

fn report(shared: &Shared) -> Result<(), Box<dyn Error>> {
    let seconds = shared.counted_from.elapsed().as_secs_f64();
    let mut nanoseconds = shared.nanoseconds.borrow_mut();
    nanoseconds.sort_unstable();
    let quantile = |q: f64| {
        let at = (nanoseconds.len() as f64 * q) as usize;
        f64::from(*nanoseconds.get(at).or(nanoseconds.last()).unwrap_or(&0)) / 1000.0
    };
    let requests = nanoseconds.len();
    println!(
        "{}",
        serde_json::json!({
            "requests": requests,
            "failed": shared.failed.get(),
            "seconds": seconds,
            "requests_per_second": requests as f64 / seconds,
            "p50_us": quantile(0.5),
            "p99_us": quantile(0.99),
            "refused": *shared.refused.borrow(),
        })
    );
    if shared.failed.get() > 0 {
        return Err("a wrong answer".into());
    }
    Ok(())
}
