//! A real PHP (Debian's `php-cgi`) shows how an upstream interprets a header: a `FastCGI`
//! application responds with the variables that it found. The gateway in front of it is simulated
//! here, because gateways differ in which characters of a header's name become `_`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::message::Lines;
use super::process::Process;
use super::wait;

/// Which characters the gateway in front of PHP replaces by `_`.
#[derive(Clone, Copy, Debug)]
pub enum Gateway {
    /// Only `-`, as nginx and WSGI servers do; PHP itself then replaces `.`.
    Hyphens,
    /// Every character but letters and digits, as lighttpd does.
    AllButLettersAndDigits,
}

pub const GATEWAYS: [Gateway; 2] = [Gateway::Hyphens, Gateway::AllButLettersAndDigits];

const SCRIPT: &str = "<?php
$is_header = fn($name) => str_starts_with($name, 'HTTP_');
echo json_encode(array_filter($_SERVER, $is_header, ARRAY_FILTER_USE_KEY), JSON_FORCE_OBJECT);";

pub struct Php {
    process: Process,
    socket: PathBuf,
    script: PathBuf,
    _dir: TempDir,
}

impl Php {
    pub async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let (socket, script) = (dir.path().join("socket"), dir.path().join("headers.php"));
        std::fs::write(&script, SCRIPT).unwrap();
        let mut process = Process::start(Command::new("php-cgi").arg("-b").arg(&socket));
        wait::until("php-cgi listens", async || {
            let output = process.output();
            assert!(process.exited().is_none(), "php-cgi has ended: {output}");
            UnixStream::connect(&socket).await.is_ok()
        })
        .await;
        Self {
            process,
            socket,
            script,
            _dir: dir,
        }
    }

    /// PHP's `$_SERVER['HTTP_…']` for a request with these headers.
    pub async fn variables(&self, gateway: Gateway, headers: &Lines) -> BTreeMap<String, String> {
        let mut parameters = vec![
            ("REQUEST_METHOD".to_owned(), "GET".to_owned()),
            (
                "SCRIPT_FILENAME".to_owned(),
                self.script.to_str().unwrap().to_owned(),
            ),
        ];
        let headers = headers.iter().filter(|(name, _)| !name.starts_with(':'));
        parameters.extend(headers.map(|(name, value)| (gateway.variable(name), value.clone())));
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(&request(&parameters)).await.unwrap();
        let answer = answer(stream).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {answer} {}", self.process.output()))
    }
}

impl Gateway {
    fn variable(self, header: &str) -> String {
        let folds = |c: char| match self {
            Self::Hyphens => c == '-',
            Self::AllButLettersAndDigits => !c.is_ascii_alphanumeric(),
        };
        let folded = header.replace(folds, "_").to_ascii_uppercase();
        format!("HTTP_{folded}")
    }
}

/// The `FastCGI` record types, and the requested role.
const BEGIN: u8 = 1;
const END: u8 = 3;
const PARAMETERS: u8 = 4;
const INPUT: u8 = 5;
const OUTPUT: u8 = 6;
const RESPONDER: u8 = 1;

fn request(parameters: &[(String, String)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (name, value) in parameters {
        for length in [name.len(), value.len()] {
            let length = u32::try_from(length).unwrap() | 1 << 31;
            content.extend_from_slice(&length.to_be_bytes());
        }
        content.extend_from_slice(name.as_bytes());
        content.extend_from_slice(value.as_bytes());
    }
    [
        record(BEGIN, &[0, RESPONDER, 0, 0, 0, 0, 0, 0]),
        record(PARAMETERS, &content),
        record(PARAMETERS, &[]),
        record(INPUT, &[]),
    ]
    .concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}

/// What the application writes until it ends the request.
async fn answer(mut stream: UnixStream) -> String {
    let mut output = Vec::new();
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head).await.unwrap();
        let length = u16::from_be_bytes([head[4], head[5]]);
        let mut content = vec![0; usize::from(length) + usize::from(head[6])];
        stream.read_exact(&mut content).await.unwrap();
        content.truncate(usize::from(length));
        match head[1] {
            OUTPUT => output.extend_from_slice(&content),
            END => return String::from_utf8(output).unwrap(),
            _ => {}
        }
    }
}
