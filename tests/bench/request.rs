//! What the load client sends, and the responses that it requires.
//!
//! The request is the `CheckRequest` of Envoy 1.40 for a request with 16 ordinary headers, 1128
//! bytes long. It is encoded once, with the headers in one order (a `HashMap` would shuffle them
//! from run to run, and the instruction counts with them). `envoy-types` verifies that it decodes
//! as intended; only the secret is written for each request.

use std::collections::{BTreeSet, HashMap};

use bytes::{BufMut, Bytes, BytesMut};
use clap::ValueEnum;
use envoy_types::ext_authz::v3::pb::{CheckRequest, CheckResponse, HttpResponse};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, string, uint64};

use crate::keys::{self, PLAN_SCOPE, SECRET_LENGTH};

/// The length of every `CheckRequest`, which is that of the one recorded from Envoy.
const REQUEST_LENGTH: usize = 1128;

/// gRPC's length-prefixed message: one byte for compression, four for the length.
const PREFIX_LENGTH: usize = 5;

/// The credential header, whose value is the secret of a key.
const CREDENTIAL: &str = "x-api-key";

/// The header whose value is padded to reach the request's length.
const PADDED: &str = "user-agent";

/// The 16 headers of the caller, as a browser or an HTTP library sends them through a load
/// balancer.
const HEADERS: [(&str, &str); 16] = [
    (PADDED, ""),
    ("accept", "application/json, text/plain, */*"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    (CREDENTIAL, ""),
    ("cache-control", "no-cache"),
    ("cookie", "session=7f3c9a; theme=dark"),
    ("if-none-match", "W/\"5f2b1c\""),
    ("origin", "https://app.example.com"),
    ("pragma", "no-cache"),
    ("referer", "https://app.example.com/invoices"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-site"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "4f1c7e1a-8a54-4b8e-9d35-0d8f6f4f2b11"),
];

/// The response expected from a server.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Expected {
    /// An allow with the four identity headers of the key that was sent.
    Full,
    /// An allow of a request without a key: HEAD, which the benchmark's configuration makes public.
    Public,
    /// A denial of an unknown key.
    Deny,
    /// Any allow, as from a server that does nothing.
    Allow,
}

/// An encoded request without the secret.
pub(crate) struct Template {
    framed: BytesMut,
    secret_at: usize,
}

impl Template {
    /// Builds the request that leads to the expected response.
    pub(crate) fn new(expected: Expected) -> Self {
        let method = if expected == Expected::Public {
            "HEAD"
        } else {
            "GET"
        };
        let bare = check_request(method, 0).len();
        let missing = REQUEST_LENGTH
            .checked_sub(bare)
            .expect("the request without padding fits");
        // Padding past 127 bytes makes length prefixes longer too.
        let request = (missing.saturating_sub(8)..=missing)
            .map(|padding| check_request(method, padding))
            .find(|request| request.len() == REQUEST_LENGTH)
            .expect("some padding gives the length");
        witness(&request, method);

        let mut framed = BytesMut::with_capacity(PREFIX_LENGTH + request.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(request.len()).expect("a small message"));
        framed.put_slice(&request);
        let placeholder = placeholder();
        let secret_at = framed
            .windows(SECRET_LENGTH)
            .position(|window| window == placeholder.as_bytes())
            .expect("the secret's place");
        Self { framed, secret_at }
    }

    /// The gRPC message that presents the secret.
    pub(crate) fn message(&self, secret: &[u8; SECRET_LENGTH]) -> Bytes {
        let mut message = self.framed.clone();
        message[self.secret_at..self.secret_at + SECRET_LENGTH].copy_from_slice(secret);
        message.freeze()
    }
}

fn decode(message: &[u8]) -> Result<CheckResponse, String> {
    match message {
        [0, a, b, c, d, body @ ..]
            if usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])) == Ok(body.len()) =>
        {
            CheckResponse::decode(body).map_err(|error| error.to_string())
        }
        _ => Err(format!("not one gRPC message: {} bytes", message.len())),
    }
}

/// The reason for which a made-up secret was refused. An allow is the error.
pub(crate) fn refusal(message: &[u8]) -> Result<String, String> {
    match decode(message)?.status {
        Some(status) if status.code != 0 => Ok(status.message),
        _ => Err("a made-up secret was allowed".to_owned()),
    }
}

/// Returns what is wrong with the response to the request of key number `key`, if anything.
pub(crate) fn check(expected: Expected, key: usize, message: &[u8]) -> Result<(), String> {
    let response = decode(message)?;
    let code = response.status.as_ref().map_or(0, |status| status.code);
    if expected == Expected::Deny {
        return if code == 0 {
            Err("an unknown key was allowed".to_owned())
        } else {
            Ok(())
        };
    }
    if code != 0 {
        return Err(format!("denied with status {code}: {response:?}"));
    }
    if expected != Expected::Full {
        return Ok(());
    }
    let Some(HttpResponse::OkResponse(ok)) = response.http_response else {
        return Err("an allow without ok_response".to_owned());
    };
    let set: HashMap<String, String> = ok
        .headers
        .into_iter()
        .filter_map(|option| option.header)
        .map(|header| {
            let value = if header.raw_value.is_empty() {
                header.value
            } else {
                String::from_utf8_lossy(&header.raw_value).into_owned()
            };
            (header.key, value)
        })
        .collect();
    let [id, client, plan] = [keys::id(key), keys::client(key), keys::PLAN.to_owned()];
    for (name, wanted) in [
        ("x-keyward-key-id", &id),
        ("x-keyward-client", &client),
        ("x-keyward-plan", &plan),
    ] {
        if set.get(name) != Some(wanted) {
            return Err(format!("{name} is {:?}, not {wanted:?}", set.get(name)));
        }
    }
    let scopes: BTreeSet<&str> = set
        .get("x-keyward-scopes")
        .map_or("", String::as_str)
        .split(' ')
        .collect();
    if scopes != BTreeSet::from([PLAN_SCOPE, keys::KEY_SCOPE]) {
        return Err(format!("x-keyward-scopes is {scopes:?}"));
    }
    if !ok.headers_to_remove.iter().any(|name| name == CREDENTIAL) {
        return Err(format!("{CREDENTIAL} is not removed"));
    }
    Ok(())
}

fn placeholder() -> String {
    "S".repeat(SECRET_LENGTH)
}

/// Panics unless `envoy-types` decodes what was intended.
fn witness(request: &[u8], method: &str) {
    let http = CheckRequest::decode(request)
        .expect("a CheckRequest")
        .attributes
        .and_then(|attributes| attributes.request)
        .and_then(|request| request.http)
        .expect("HTTP attributes");
    assert_eq!(http.method, method);
    assert_eq!(http.headers.get(CREDENTIAL), Some(&placeholder()));
    // The 16, and the four pseudo-headers.
    assert_eq!(http.headers.len(), HEADERS.len() + 4);
}

/// `CheckRequest{attributes{source, destination, request{time, http}, metadata_context,
/// route_metadata_context}}`.
fn check_request(method: &str, padding: usize) -> Vec<u8> {
    let path = "/v1/invoices/2026/11?page=2&per_page=50";
    let host = "api.example.com";
    let secret = placeholder();
    let padded = "Mozilla/5.0 (X11; Linux x86_64) ".repeat(32);

    let mut http = Vec::new();
    string::encode(1, &"11530475287409846129".to_owned(), &mut http);
    string::encode(2, &method.to_owned(), &mut http);
    let pseudo = [
        (":authority", host),
        (":path", path),
        (":method", method),
        (":scheme", "https"),
    ];
    for (name, value) in pseudo.into_iter().chain(HEADERS) {
        let value = match name {
            PADDED => &padded[..padding],
            CREDENTIAL => &secret,
            _ => value,
        };
        let mut entry = Vec::new();
        string::encode(1, &name.to_owned(), &mut entry);
        string::encode(2, &value.to_owned(), &mut entry);
        nested(3, &entry, &mut http);
    }
    string::encode(4, &path.to_owned(), &mut http);
    string::encode(5, &host.to_owned(), &mut http);
    string::encode(6, &"https".to_owned(), &mut http);
    string::encode(10, &"HTTP/1.1".to_owned(), &mut http);

    let mut time = Vec::new();
    uint64::encode(1, &1_793_534_400, &mut time);
    uint64::encode(2, &123_456_000, &mut time);
    let mut request = Vec::new();
    nested(1, &time, &mut request);
    nested(2, &http, &mut request);

    let mut attributes = Vec::new();
    nested(1, &peer("10.1.2.3", 51234), &mut attributes);
    nested(2, &peer("10.1.0.7", 8080), &mut attributes);
    nested(4, &request, &mut attributes);
    nested(11, &[], &mut attributes);
    nested(13, &[], &mut attributes);

    let mut check = Vec::new();
    nested(1, &attributes, &mut check);
    check
}

/// `Peer{address{socket_address{address, port_value}}}`.
fn peer(ip: &str, port: u64) -> Vec<u8> {
    let mut socket = Vec::new();
    string::encode(2, &ip.to_owned(), &mut socket);
    uint64::encode(3, &port, &mut socket);
    let mut address = Vec::new();
    nested(1, &socket, &mut address);
    let mut peer = Vec::new();
    nested(1, &address, &mut peer);
    peer
}

/// Writes a message as a field of another.
fn nested(tag: u32, body: &[u8], into: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(body.len() as u64, into);
    into.extend_from_slice(body);
}
