//! A DNS server that knows one name: on loopback and port 53, for resolv.conf has no place for another one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const PORT: u16 = 53;

/// RFC 1035 section 4.1.1: the answer to a recursive question, and that there is no such name.
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
    /// A server to which `name` is 127.0.0.1, has no IPv6 address, and is all there is.
    ///
    /// # Errors
    /// That ports below 1024 are not for this user.
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

    /// The names that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An address of its own for each test that runs.
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

/// The name that a message asks for and the answer to it; `None` where it is cut.
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
    // One question, as many answers, and nothing else.
    answer.extend([0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    answer.extend(&message[HEADER_LEN..question_end]);
    if found {
        // The name of the question, for a second.
        answer.extend([0xc0, 12]);
        answer.extend(A_IN);
        answer.extend([0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some((name, answer))
}
