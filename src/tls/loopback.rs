//! Whether a host is this machine, so that what is sent to it crosses no network.
//!
//! Asked for warnings alone. Names are compared as text; nothing is resolved.

use std::net::IpAddr;

/// Whether the host of a URL is a loopback address, or a name of one (RFC 6761 section 6.3).
pub(crate) fn is_this_machine(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match address.unwrap_or(&name).parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_and_their_names_are_this_machine() {
        for (host, want) in [
            ("127.0.0.1", true),
            ("127.8.0.1", true),
            ("::1", true),
            ("[::1]", true),
            ("::ffff:127.0.0.1", true),
            ("localhost", true),
            ("LocalHost.", true),
            ("redis.localhost", true),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("localhost.example.org", false),
            ("keys.internal", false),
            ("", false),
        ] {
            assert_eq!(is_this_machine(host), want, "{host}");
        }
    }
}
