//! A DNS server that knows one name: on loopback and port 53, because resolv.conf cannot name
//! another port.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const PORT: u16 = 53;

/// RFC 1035 section 4.1.1: the answer to a recursive query, and that there is no such name.
const ANSWER: [u8; 2] = [0x81, 0x80];
const NO_SUCH_NAME: [u8; 2] = [0x81, 0x83];
const HEADER_LEN: usize = 12;
/// Type and class of a question.
const A_IN: [u8; 4] = [0, 1, 0, 1];

pub struct Dns {
    pub address: Ipv4Addr,
    asked: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Dns {
    /// A server that resolves only `name`, to 127.0.0.1, and has no IPv6 address for it.
    ///
    /// # Errors
    /// This user cannot bind ports below 1024.
    pub async fn start(name: &'static str) -> std::io::Result<Self> {
        let (address, socket) = bind().await?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let Some((asked, answer)) = answer(&question[..length], name) else {
                    continue;
                };
                seen.lock().unwrap().push(asked);
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Ok(Self {
            address,
            asked,
            server,
        })
    }

    /// The names in the queries so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A separate address for each running test.
async fn bind() -> std::io::Result<(Ipv4Addr, UdpSocket)> {
    let mut last = 1;
    loop {
        let address = Ipv4Addr::new(127, 0, 53, last);
        match UdpSocket::bind(SocketAddr::from((address, PORT))).await {
            Ok(socket) => return Ok((address, socket)),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && last < 250 => last += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The name in a query, and the answer to it; `None` if the query is truncated.
fn answer(message: &[u8], known: &str) -> Option<(String, Vec<u8>)> {
    let mut rest = message.get(HEADER_LEN..)?;
    let mut labels = Vec::new();
    loop {
        let (&length, after) = rest.split_first()?;
        let length = usize::from(length);
        rest = after;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(rest.get(..length)?).into_owned());
        rest = rest.get(length..)?;
    }
    let name = labels.join(".");
    let type_and_class = rest.get(..4)?;
    let question_end = message.len() - rest.len() + 4;
    let is_known = name == known;
    let found = is_known && type_and_class == A_IN;
    let mut answer = message[..2].to_vec();
    answer.extend(if is_known { ANSWER } else { NO_SUCH_NAME });
    // One question, the answers, and nothing else.
    answer.extend([0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    answer.extend(&message[HEADER_LEN..question_end]);
    if found {
        // The name of the question, with a TTL of one second.
        answer.extend([0xc0, 12]);
        answer.extend(A_IN);
        answer.extend([0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some((name, answer))
}
