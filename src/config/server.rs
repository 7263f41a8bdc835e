//! Checks the listeners, and how long the server drains.
//!
//! Paths become relative to the configuration's directory here. Certificates are named and not
//! read: the listener reads them, and follows their rotation.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::spec::{ServerSpec, TlsServerSpec};
use crate::tls::ServerTlsFiles;
use crate::units::SizeSpec;
use crate::watch::named_file::NamedFile;
use crate::yaml::FieldPath;

/// Longest path of a Unix socket in bytes: `sun_path` has 108 on Linux, one of them a final zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The upper limit of `max_message`: half of what the memory for all that arrive has
/// room for.
const MAX_MESSAGE_BYTES: u64 = 32 * 1024 * 1024;

/// What a listener's address may be, for messages.
const ADDRESS_HELP: &str = "write an IP address and a port, such as 127.0.0.1:9191 or [::]:9191";

/// The listeners and their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where Envoy reaches us.
    pub grpc: GrpcConfig,
    /// Where metrics and probes are answered.
    pub admin: SocketAddr,
    /// How long to say `NOT_SERVING` before listeners close.
    pub drain: Duration,
    /// From the signal on; what still runs then is cut off. Longer than `drain`.
    pub deadline: Duration,
}

/// The listener for Envoy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcConfig {
    /// Where it listens.
    pub address: ListenAddress,
    /// Bytes of one check.
    pub max_message: usize,
    /// Its certificate; `None` for plain text.
    pub tls: Option<ServerTlsFiles>,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// Its path.
        path: NamedFile,
        /// Its permission bits.
        mode: u32,
    },
}

impl std::fmt::Display for ListenAddress {
    /// As the configuration writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The checked form; paths are relative to `base`.
pub(super) fn check(spec: &ServerSpec, at: &FieldPath<'_>, base: &Path) -> Option<ServerConfig> {
    let grpc = at.field("grpc");
    let mode = check_mode(&spec.grpc.socket_mode, &grpc.field("socket_mode"));
    let address = check_address(&spec.grpc.address, &grpc.field("address"), base, mode);
    let max_message = check_max_message(spec.grpc.max_message, &at.field("grpc"));
    let tls = match &spec.grpc.tls {
        Some(tls) => check_tls(tls, &at.field("grpc").field("tls"), base).map(Some),
        None => Some(None),
    };
    let admin = check_admin(
        &spec.admin.address,
        address.as_ref(),
        &at.field("admin").field("address"),
    );
    let (drain, deadline) = (spec.drain.0, spec.deadline.0);
    if deadline <= drain {
        let help = format!(
            "it counts from the signal on; make it longer than `drain`, {}",
            spec.drain
        );
        at.field("deadline")
            .problem_with_help("no time is left after `drain`", help);
        return None;
    }
    Some(ServerConfig {
        grpc: GrpcConfig {
            address: mode.and(address)?,
            max_message: max_message?,
            tls: tls?,
        },
        admin: admin?,
        drain,
        deadline,
    })
}

/// The address of the gRPC listener; a socket gets the permissions `mode`, no permissions if it is
/// `None`.
pub(super) fn check_address(
    text: &str,
    at: &FieldPath<'_>,
    base: &Path,
    mode: Option<u32>,
) -> Option<ListenAddress> {
    let Some(path) = text.strip_prefix("unix:") else {
        let Ok(address) = text.parse() else {
            let help = format!("{ADDRESS_HELP}, or unix:/run/keyward/keyward.sock");
            at.problem_with_help("not an address to listen on", help);
            return None;
        };
        return Some(ListenAddress::Tcp(address));
    };
    let joined = base.join(path);
    let problem = if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        "not the path of a socket".to_owned()
    } else if joined.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
        format!("the path of a socket may have at most {MAX_SOCKET_PATH_BYTES} bytes")
    } else {
        let written = at.written();
        let written = written.map(|text| text.strip_prefix("unix:").unwrap_or(&text).to_owned());
        return Some(ListenAddress::Unix {
            path: NamedFile::new(joined, written),
            mode: mode.unwrap_or_default(),
        });
    };
    at.problem_with_help(
        problem,
        "write unix: and a path, such as unix:/run/keyward.sock",
    );
    None
}

pub(super) fn check_mode(text: &str, at: &FieldPath<'_>) -> Option<u32> {
    let mode = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777 && !text.starts_with('+'));
    if mode.is_none() {
        at.problem_with_help(
            "not permission bits",
            "write them in octal and in quotes, such as \"0660\"",
        );
    }
    mode
}

fn check_max_message(spec: SizeSpec, at: &FieldPath<'_>) -> Option<usize> {
    let SizeSpec(bytes) = spec;
    if bytes == 0 || bytes > MAX_MESSAGE_BYTES {
        let help = format!("give up to {}", SizeSpec(MAX_MESSAGE_BYTES));
        at.field("max_message")
            .problem_with_help("not a size that a check may have", help);
        return None;
    }
    usize::try_from(bytes).ok()
}

pub(super) fn check_admin(
    text: &str,
    grpc: Option<&ListenAddress>,
    at: &FieldPath<'_>,
) -> Option<SocketAddr> {
    let Ok(admin) = text.parse::<SocketAddr>() else {
        at.problem_with_help("not an address to listen on", ADDRESS_HELP);
        return None;
    };
    if admin.port() != 0 && grpc == Some(&ListenAddress::Tcp(admin)) {
        at.problem_with_help(
            "the gRPC listener has this address too",
            "give each listener a port of its own",
        );
        return None;
    }
    Some(admin)
}

fn check_tls(spec: &TlsServerSpec, at: &FieldPath<'_>, base: &Path) -> Option<ServerTlsFiles> {
    let cert = file(&spec.cert_file, &at.field("cert_file"), base);
    let key = file(&spec.key_file, &at.field("key_file"), base);
    let client_ca = match &spec.client_ca_file {
        Some(path) => file(path, &at.field("client_ca_file"), base).map(Some),
        None => Some(None),
    };
    Some(ServerTlsFiles {
        cert: cert?,
        key: key?,
        client_ca: client_ca?,
    })
}

/// A path relative to `base`; an empty one is a problem, for it would mean the directory.
pub(super) fn file(path: &str, at: &FieldPath<'_>, base: &Path) -> Option<NamedFile> {
    if path.is_empty() {
        at.problem_with_help(
            "the path is empty",
            "name a file, relative to the configuration or from /",
        );
        return None;
    }
    Some(NamedFile::new(base.join(path), at.written()))
}
