//! Whether a server removes keys when its memory is full.
//!
//! A key whose record was evicted is unknown: its callers are refused, and no log says why. The
//! policy is read where the user may read it; elsewhere there is no warning.

use redis::Value;

use super::connect::topology::{bytes, items};
use super::connect::{Connection, Connector, ServerAddress, with_timeout};

/// The prefix of the policies that remove any key. The others remove only keys with an expiry,
/// which records do not have.
const ALLKEYS_PREFIX: &str = "allkeys-";

impl Connector {
    /// A warning for each master that may evict records.
    pub(crate) async fn eviction_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let Ok(credentials) = self.files().load().await else {
            return warnings;
        };
        for master in self.masters(&credentials).await.unwrap_or_default() {
            if let Ok(mut connection) = self.login(&master, &credentials).await
                && let Some(policy) = policy_of(&mut connection).await
                && policy.starts_with(ALLKEYS_PREFIX)
            {
                warnings.push(warning(&master, &policy));
            }
        }
        warnings
    }
}

fn warning(server: &ServerAddress, policy: &str) -> String {
    format!(
        "source.redis: {server}: maxmemory-policy is {policy}: when its memory is full the server removes keys that are in use, and their callers are refused as `unknown_key`; set it to noeviction"
    )
}

/// The server's `maxmemory-policy`, where it may be read. Managed servers often allow `INFO` alone.
async fn policy_of(connection: &mut Connection) -> Option<String> {
    let info = redis::cmd("INFO").arg("memory").to_owned();
    if let Ok(answer) = with_timeout(&info, connection).await
        && let Some(policy) = bytes(&answer).and_then(policy_in)
    {
        return Some(policy);
    }
    let config = redis::cmd("CONFIG")
        .arg("GET")
        .arg("maxmemory-policy")
        .to_owned();
    let answer: Value = with_timeout(&config, connection).await.ok()?;
    let policy = items(&answer).get(1).and_then(bytes)?;
    word(policy)
}

/// The policy in an answer to `INFO memory`.
fn policy_in(info: &[u8]) -> Option<String> {
    let mut lines = info.split(|byte| *byte == b'\n');
    word(lines.find_map(|line| line.strip_prefix(b"maxmemory_policy:"))?)
}

/// A policy's name. No other text of a server is repeated.
fn word(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (!text.is_empty() && text.len() <= 32 && text.chars().all(is_word)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_word_or_nothing() {
        for (info, want) in [
            (
                "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n",
                Some("allkeys-lru"),
            ),
            ("maxmemory_policy:noeviction", Some("noeviction")),
            ("maxmemory:0\r\n", None),
            ("maxmemory_policy:can ary\r\n", None),
            ("", None),
        ] {
            assert_eq!(policy_in(info.as_bytes()).as_deref(), want, "{info:?}");
        }
    }
}
