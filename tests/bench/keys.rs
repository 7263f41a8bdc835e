//! Keys with known secrets for the benchmark.
//!
//! Everything about key number `i` follows from `i`, so that the file of keys and the load client
//! need to agree only on the number of keys. The secrets are public: never use such a file to
//! protect anything.

use std::io::{self, Write};
use std::path::Path;

use blake3::Hasher;

/// The length of a secret: that of the hash in performance claims.
pub(crate) const SECRET_LENGTH: usize = 40;

pub(crate) const PLAN: &str = "gold";

/// The scope that comes from the plan.
pub(crate) const PLAN_SCOPE: &str = "invoices:read";

/// The scope that the key itself has.
pub(crate) const KEY_SCOPE: &str = "invoices:write";

pub(crate) fn id(i: usize) -> String {
    format!("key-{i:06}")
}

/// The client of key number `i`; each client has three keys.
pub(crate) fn client(i: usize) -> String {
    format!("client-{:06}", i / 3)
}

pub(crate) fn secret(i: usize) -> [u8; SECRET_LENGTH] {
    let hex = Hasher::new_derive_key("keyward bench secret v1")
        .update(&(i as u64).to_le_bytes())
        .finalize()
        .to_hex();
    let mut secret = *b"kwbench_________________________________";
    secret[8..].copy_from_slice(&hex.as_bytes()[..SECRET_LENGTH - 8]);
    secret
}

/// Writes a key file of `count` keys; with a pepper the digests are keyed.
pub(crate) fn write(count: usize, pepper: Option<&Path>, mut to: impl Write) -> io::Result<()> {
    let pepper = match pepper {
        Some(file) => {
            let mut pepper = std::fs::read(file)?;
            if pepper.last() == Some(&b'\n') {
                pepper.pop();
            }
            Some(blake3::derive_key("keyward api key digest v1", &pepper))
        }
        None => None,
    };
    writeln!(to, "keys:")?;
    for i in 0..count {
        let secret = secret(i);
        let (kind, digest) = match &pepper {
            Some(key) => ("blake3-keyed", blake3::keyed_hash(key, &secret)),
            None => ("blake3", blake3::hash(&secret)),
        };
        writeln!(to, "  - id: {}", id(i))?;
        writeln!(to, "    client: {}", client(i))?;
        writeln!(to, "    secrets:")?;
        writeln!(to, "      - digest: {kind}:{}", digest.to_hex())?;
        writeln!(to, "    plan: {PLAN}")?;
        writeln!(to, "    scopes: [{KEY_SCOPE}]")?;
    }
    to.flush()
}
