//! A TCP proxy between keyward and its source, or Envoy and keyward. Tests switch its behaviour
//! while it runs, for all connections or only for push connections, which it recognises by bytes
//! sent over them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::port::Port;

/// What happens to the bytes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Responses are delayed by this time.
    Delay(Duration),
    /// Responses are held until the mode changes.
    Hold,
    /// Connections are reset, new ones at once.
    Reset,
    /// Everything is dropped. A connection that lost bytes ends when the mode changes, because no
    /// network delivers parts of a stream.
    BlackHole,
    /// Everything sent gets this response, and never reaches the source. The connection ends like
    /// one of `BlackHole`.
    Answer(Vec<u8>),
}

impl Mode {
    /// Bytes that match no protocol.
    pub fn garbage() -> Self {
        Self::Answer(
            (0..997_u32)
                .map(|n| (n * 181 % 251).to_le_bytes()[0])
                .collect(),
        )
    }
}

#[derive(Clone, Debug)]
struct Behaviour {
    listening: bool,
    data: Mode,
    push: Mode,
    /// How often connections were cut.
    cuts: usize,
    /// How often connections were silenced.
    silenced: usize,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
    pushes: AtomicUsize,
    held: AtomicUsize,
}

pub struct FaultProxy {
    pub address: SocketAddr,
    behaviour: watch::Sender<Behaviour>,
    counts: Arc<Counts>,
    server: JoinHandle<()>,
}

impl FaultProxy {
    /// A connection over which the bytes `push` were sent is a push connection.
    pub async fn start(to: SocketAddr, push: &'static str) -> Self {
        let port = Port::reserve();
        let address = port.address();
        let (behaviour, watched) = watch::channel(Behaviour {
            listening: true,
            data: Mode::Pass,
            push: Mode::Pass,
            cuts: 0,
            silenced: 0,
        });
        let counts = Arc::<Counts>::default();
        let listener = TcpListener::bind(address).await.unwrap();
        let server = tokio::spawn(listen(port, listener, to, push, watched, counts.clone()));
        Self {
            address,
            behaviour,
            counts,
            server,
        }
    }

    /// Between keyward and a Redis.
    pub async fn of_redis(to: SocketAddr) -> Self {
        Self::start(to, "TRACKING").await
    }

    /// Between keyward and a key service.
    pub async fn of_http(to: SocketAddr) -> Self {
        Self::start(to, "GET /events").await
    }

    /// Between Envoy and a keyward; nothing is pushed there.
    pub async fn of_checks(to: SocketAddr) -> Self {
        Self::start(to, "no connection has this").await
    }

    pub fn set(&self, mode: &Mode) {
        self.behaviour.send_modify(|behaviour| {
            behaviour.listening = true;
            behaviour.data = mode.clone();
            behaviour.push = mode.clone();
        });
    }

    pub fn set_data(&self, mode: Mode) {
        self.behaviour
            .send_modify(|behaviour| behaviour.data = mode);
    }

    pub fn set_push(&self, mode: Mode) {
        self.behaviour
            .send_modify(|behaviour| behaviour.push = mode);
    }

    /// Stops listening, and cuts open connections.
    pub fn refuse(&self) {
        self.behaviour.send_modify(|behaviour| {
            behaviour.listening = false;
            behaviour.cuts += 1;
        });
    }

    /// Turns every open connection into a black hole that does not end, like a firewall or NAT that
    /// has forgotten it; new connections pass.
    pub fn silence(&self) {
        self.behaviour
            .send_modify(|behaviour| behaviour.silenced += 1);
    }

    /// The number of connections so far.
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// The number of push connections so far.
    pub fn pushes(&self) -> usize {
        self.counts.pushes.load(Ordering::Relaxed)
    }

    /// The number of delayed or held pieces of responses.
    pub fn held(&self) -> usize {
        self.counts.held.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
        self.refuse();
    }
}

async fn listen(
    port: Port,
    first: TcpListener,
    to: SocketAddr,
    push: &'static str,
    mut behaviour: watch::Receiver<Behaviour>,
    counts: Arc<Counts>,
) {
    let mut listener = Some(first);
    loop {
        let listening = behaviour.borrow_and_update().listening;
        match (&listener, listening) {
            (Some(_), false) => listener = None,
            (None, true) => listener = Some(TcpListener::bind(port.address()).await.unwrap()),
            (None, false) => {
                if behaviour.changed().await.is_err() {
                    return;
                }
            }
            (Some(open), true) => tokio::select! {
                changed = behaviour.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Ok((client, _)) = open.accept() => {
                    counts.accepted.fetch_add(1, Ordering::Relaxed);
                    let connection = ProxiedConnection {
                        client,
                        push,
                        is_push: false,
                        spoiled: false,
                        silenced: behaviour.borrow().silenced,
                        sent: Vec::new(),
                        behaviour: behaviour.clone(),
                        counts: Arc::clone(&counts),
                        late: VecDeque::new(),
                    };
                    tokio::spawn(connection.carry(to));
                }
            },
        }
    }
}

struct ProxiedConnection {
    client: TcpStream,
    push: &'static str,
    is_push: bool,
    /// Whether bytes were dropped.
    spoiled: bool,
    /// How often connections had been silenced when it was opened.
    silenced: usize,
    /// The end of the sent bytes, which may contain `push`.
    sent: Vec<u8>,
    behaviour: watch::Receiver<Behaviour>,
    counts: Arc<Counts>,
    /// Delayed responses, each with its time; `None` for held ones.
    late: VecDeque<(Option<Instant>, Vec<u8>)>,
}

impl ProxiedConnection {
    async fn carry(mut self, to: SocketAddr) {
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        let counts = Arc::clone(&self.counts);
        if self.exchange(to).await.is_none() {
            let _ = self.client.set_zero_linger();
        }
        drop(self);
        counts.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn mode(&self) -> Mode {
        let behaviour = self.behaviour.borrow();
        if behaviour.silenced != self.silenced {
            return Mode::BlackHole;
        }
        let mode = if self.is_push {
            &behaviour.push
        } else {
            &behaviour.data
        };
        mode.clone()
    }

    /// Returns `None` if the connection is to be reset.
    async fn exchange(&mut self, to: SocketAddr) -> Option<()> {
        let cuts = self.behaviour.borrow_and_update().cuts;
        if self.mode() == Mode::Reset {
            return None;
        }
        let mut server = TcpStream::connect(to).await.ok()?;
        let _ = (self.client.set_nodelay(true), server.set_nodelay(true));
        let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
        loop {
            let swallows = matches!(self.mode(), Mode::BlackHole | Mode::Answer(_));
            let reset = self.mode() == Mode::Reset || (self.spoiled && !swallows);
            if reset || self.behaviour.borrow().cuts != cuts {
                return None;
            }
            self.spoiled |= swallows;
            let due = self.late.front().and_then(|(due, _)| *due);
            let never = due.is_none();
            let due = due.unwrap_or_else(Instant::now);
            tokio::select! {
                changed = self.behaviour.changed() => {
                    changed.ok()?;
                    self.mode_changed().await?;
                }
                read = self.client.read(&mut up) => {
                    let read = read.ok()?;
                    if read == 0 {
                        return Some(());
                    }
                    self.note(&up[..read]);
                    match self.mode() {
                        Mode::Pass | Mode::Delay(_) | Mode::Hold => server.write_all(&up[..read]).await.ok()?,
                        Mode::Answer(bytes) => self.client.write_all(&bytes).await.ok()?,
                        Mode::Reset => return None,
                        Mode::BlackHole => {}
                    }
                }
                read = server.read(&mut down) => {
                    let read = read.ok()?;
                    if read == 0 {
                        return Some(());
                    }
                    self.answer(&down[..read]).await?;
                }
                () = sleep_until(due), if !never => {
                    let (_, bytes) = self.late.pop_front()?;
                    self.client.write_all(&bytes).await.ok()?;
                }
            }
        }
    }

    /// Checks whether this is a push connection.
    fn note(&mut self, bytes: &[u8]) {
        if self.is_push {
            return;
        }
        self.sent.extend_from_slice(bytes);
        let push = self.push.as_bytes();
        let found = self.sent.windows(push.len());
        if found.into_iter().any(|w| w.eq_ignore_ascii_case(push)) {
            self.is_push = true;
            self.counts.pushes.fetch_add(1, Ordering::Relaxed);
        }
        let old = self.sent.len().saturating_sub(push.len());
        self.sent.drain(..old);
    }

    async fn answer(&mut self, bytes: &[u8]) -> Option<()> {
        let due = match self.mode() {
            Mode::Pass => {
                // The mode may have just changed: held bytes go first.
                self.mode_changed().await?;
                return self.client.write_all(bytes).await.ok();
            }
            Mode::Delay(by) => Some(Instant::now() + by),
            Mode::Hold => None,
            Mode::BlackHole | Mode::Answer(_) | Mode::Reset => return Some(()),
        };
        self.counts.held.fetch_add(1, Ordering::Relaxed);
        self.late.push_back((due, bytes.to_vec()));
        Some(())
    }

    /// Sends delayed bytes now if the new mode permits it.
    async fn mode_changed(&mut self) -> Option<()> {
        match self.mode() {
            Mode::Pass => {
                for (_, bytes) in std::mem::take(&mut self.late) {
                    self.client.write_all(&bytes).await.ok()?;
                }
            }
            Mode::BlackHole | Mode::Answer(_) => self.late.clear(),
            Mode::Delay(_) | Mode::Hold | Mode::Reset => {}
        }
        Some(())
    }
}
