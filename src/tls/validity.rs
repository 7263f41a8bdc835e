//! When certificates expire: the one fact of X.509 (RFC 5280) that the TLS library does not expose.
//!
//! Walks the DER of a certificate to its `validity` and reads nothing else. If that cannot be
//! parsed the end is unknown; whether the certificate can be used is decided by the TLS library.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `version`, explicitly tagged, and absent from certificates of version 1.
const VERSION: u8 = 0xa0;

/// When the first of them expires; `None` if no end can be parsed.
pub fn earliest_end(chain: &[CertificateDer<'_>]) -> Option<Timestamp> {
    chain.iter().filter_map(|der| not_after(der)).min()
}

fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = of_tag(der, SEQUENCE)?;
    let (body, _) = of_tag(certificate, SEQUENCE)?;
    let body = of_tag(body, VERSION).map_or(body, |(_, rest)| rest);
    let (_, rest) = of_tag(body, INTEGER)?;
    let (_signature, rest) = of_tag(rest, SEQUENCE)?;
    let (_issuer, rest) = of_tag(rest, SEQUENCE)?;
    let (validity, _) = of_tag(rest, SEQUENCE)?;
    let (_, _not_before, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    time_of(tag, std::str::from_utf8(time).ok()?)
}

/// The content of an element that must have that tag, and what follows it.
fn of_tag(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(der)?;
    (tag == wanted).then_some((content, rest))
}

/// An element's tag and content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length.checked_sub(0x80) {
        None => (usize::from(*length), rest),
        // The next bytes are the length; no certificate needs more than four.
        Some(bytes) => {
            let (length, rest) = rest.split_at_checked(usize::from(bytes))?;
            if !(1..=4).contains(&length.len()) {
                return None;
            }
            let length = length
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// A time in the two forms of RFC 5280: in UTC and with seconds.
fn time_of(tag: u8, text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let century = if year < "50" { "20" } else { "19" };
            (format!("{century}{year}"), rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.to_owned(), rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let two = |at: usize| rest.get(at..at + 2);
    let (month, day) = (two(0)?, two(2)?);
    let (hour, minute, second) = (two(4)?, two(6)?, two(8)?);
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 3, 4);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_end_of_a_chain_is_that_of_the_certificate_that_expires_first() {
        let end = |chain: &[CertificateDer<'_>]| earliest_end(chain).map(|end| end.to_string());
        // In either form of time: years from 2050 on have four digits.
        let (near, far) = (certificate(2031), certificate(2061));
        assert_eq!(
            end(&[far.clone(), near.clone()]).as_deref(),
            Some("2031-03-04T00:00:00Z")
        );
        assert_eq!(
            end(std::slice::from_ref(&far)).as_deref(),
            Some("2061-03-04T00:00:00Z")
        );
        assert_eq!(end(&[]), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = certificate(2031);
        for end in 0..whole.len() {
            let cut = CertificateDer::from(&whole[..end]);
            assert_eq!(earliest_end(&[cut]), None, "cut at {end}");
        }
        assert_eq!(time_of(UTC_TIME, "300230000000Z"), None, "no such day");
        assert_eq!(time_of(UTC_TIME, "3003040000Z"), None, "no seconds");
    }
}
