//! The oracle's own reading of hosts, paths, networks and credential places.

use std::net::IpAddr;

use super::naive::NaivePlace;

/// What a credential place holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Held {
    Nothing,
    Secret(Vec<u8>),
    Two,
}

/// The name and the port of a host pattern.
fn pattern_parts(pattern: &str) -> (String, Option<String>) {
    match pattern.split_once(':') {
        Some((name, port)) => (name.to_ascii_lowercase(), Some(port.to_owned())),
        None => (pattern.to_ascii_lowercase(), None),
    }
}

fn is_name(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(below) => name.len() > below.len() && name.ends_with(below),
        None => pattern == name,
    }
}

/// Strictly: the authority as sent but for case.
pub(crate) fn host_as_sent(pattern: &str, authority: &str) -> bool {
    let (name, port) = pattern_parts(pattern);
    let authority = authority.to_ascii_lowercase();
    match (port.as_deref(), authority.split_once(':')) {
        (None, _) | (Some("*"), None) => is_name(&name, &authority),
        (Some("*"), Some((host, _))) => is_name(&name, host),
        (Some(_), None) => false,
        (Some(port), Some((host, sent))) => port == sent && is_name(&name, host),
    }
}

/// Broadly: ports and a final dot do not count.
pub(crate) fn host_at_large(pattern: &str, authority: &str) -> bool {
    let (name, _) = pattern_parts(pattern);
    let authority = authority.to_ascii_lowercase();
    let host = authority.split(':').next().unwrap();
    is_name(&name, host.strip_suffix('.').unwrap_or(host))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .map(|value| u8::try_from(value).unwrap())
}

/// Percent-decoded once; a `%` without two hex digits stays.
pub(crate) fn decoded(text: &[u8]) -> Vec<u8> {
    match text {
        [] => vec![],
        [b'%', high, low, rest @ ..] if hex(*high).is_some() && hex(*low).is_some() => {
            let byte = hex(*high).unwrap() * 16 + hex(*low).unwrap();
            [vec![byte], decoded(rest)].concat()
        }
        [byte, rest @ ..] => [vec![*byte], decoded(rest)].concat(),
    }
}

fn segments(path: &[u8]) -> Vec<Vec<u8>> {
    let mut segments: Vec<Vec<u8>> = path[1..]
        .split(|byte| *byte == b'/')
        .map(<[u8]>::to_vec)
        .collect();
    if segments.last().is_some_and(Vec::is_empty) {
        segments.pop();
    }
    segments
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

pub(crate) fn is_plain(path: &[u8]) -> bool {
    if path.is_empty() || path == b"*" {
        return true;
    }
    if path[0] != b'/' {
        return false;
    }
    for (at, byte) in path.iter().enumerate() {
        if is_control(*byte) || *byte >= 0x80 || b"\\;#".contains(byte) {
            return false;
        }
        if *byte == b'%' {
            let digits = path.get(at + 1..at + 3).unwrap_or_default();
            if digits.len() != 2 || !digits.iter().all(|digit| hex(*digit).is_some()) {
                return false;
            }
            let meant = hex(digits[0]).unwrap() * 16 + hex(digits[1]).unwrap();
            if is_control(meant) || b"./\\;%".contains(&meant) {
                return false;
            }
        }
    }
    if String::from_utf8(decoded(path)).is_err() {
        return false;
    }
    !segments(path)
        .iter()
        .any(|segment| segment.is_empty() || segment == b"." || segment == b"..")
}

/// Whether a plain path matches a pattern.
pub(crate) fn path_matches(pattern: &str, path: &[u8]) -> bool {
    if path.is_empty() || path == b"*" {
        return false;
    }
    let path: Vec<Vec<u8>> = segments(path)
        .iter()
        .map(|segment| decoded(segment))
        .collect();
    all_match(&segments(pattern.as_bytes()), &path)
}

fn all_match(pattern: &[Vec<u8>], path: &[Vec<u8>]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((first, rest)), _) if first == b"**" => {
            all_match(rest, path) || (!path.is_empty() && all_match(pattern, &path[1..]))
        }
        (Some(_), None) => false,
        (Some((wanted, patterns)), Some((segment, segments))) => {
            one_matches(wanted, segment) && all_match(patterns, segments)
        }
    }
}

fn one_matches(pattern: &[u8], segment: &[u8]) -> bool {
    match (pattern, segment) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            one_matches(rest, segment)
                || (!segment.is_empty() && one_matches(pattern, &segment[1..]))
        }
        ([wanted, patterns @ ..], [byte, bytes @ ..]) => {
            wanted == byte && one_matches(patterns, bytes)
        }
        _ => false,
    }
}

fn bits(address: IpAddr) -> (u32, u128) {
    match address {
        IpAddr::V4(v4) => (32, u128::from(u32::from(v4))),
        IpAddr::V6(v6) => (128, u128::from(v6)),
    }
}

pub(crate) fn is_in(net: &str, address: IpAddr) -> bool {
    let (base, prefix) = net.split_once('/').unwrap();
    let (width, base) = bits(base.parse().unwrap());
    let (actual, address) = bits(address);
    let shift = width - prefix.parse::<u32>().unwrap();
    width == actual && base.checked_shr(shift) == address.checked_shr(shift)
}

/// The lines of a header, joined as Envoy joins them.
pub(crate) fn joined(lines: &[(String, String)], wanted: &str) -> Option<String> {
    let values: Vec<&str> = lines
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value.as_str())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Whether a header's value begins with a scheme, and what follows the scheme and its spaces.
pub(crate) fn after_scheme<'v>(value: &'v str, scheme: &str) -> Option<&'v str> {
    let end = value.find([' ', ',']).unwrap_or(value.len());
    let (first, rest) = value.split_at(end);
    first
        .eq_ignore_ascii_case(scheme)
        .then(|| rest.trim_start_matches(' '))
}

/// The cookies of a request: name, value, and the whole of it.
pub(crate) fn cookies(lines: &[(String, String)]) -> Vec<(String, String, String)> {
    let header = joined(lines, "cookie").unwrap_or_default();
    let pieces = header
        .split([';', ','])
        .map(str::trim)
        .filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            (name.to_owned(), value.to_owned(), piece.to_owned())
        })
        .collect()
}

/// The parameters of a query: raw names and decoded values.
pub(crate) fn parameters(query: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pieces = query
        .split(|byte| *byte == b'&')
        .filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| match piece.iter().position(|byte| *byte == b'=') {
            Some(at) => (piece[..at].to_vec(), decoded(&piece[at + 1..])),
            None => (piece.to_vec(), vec![]),
        })
        .collect()
}

fn one_of(values: Vec<Vec<u8>>) -> Held {
    match <[Vec<u8>; 1]>::try_from(values) {
        Ok([value]) if value.is_empty() => Held::Nothing,
        Ok([value]) => Held::Secret(value),
        Err(values) if values.is_empty() => Held::Nothing,
        Err(_) => Held::Two,
    }
}

fn parts(value: &str) -> Vec<Vec<u8>> {
    value
        .split(',')
        .map(|part| part.as_bytes().to_vec())
        .collect()
}

/// What a place holds. With a prefix, values that do not begin with it are nobody's unless one
/// beside them does.
pub(crate) fn held(
    place: &NaivePlace,
    prefix: Option<&str>,
    lines: &[(String, String)],
    query: &[u8],
) -> Held {
    let Some(prefix) = prefix else {
        return held_by_any(place, lines, query);
    };
    let begins = |value: &[u8]| value.starts_with(prefix.as_bytes());
    let (ours, all) = match *place {
        NaivePlace::Scheme(name, scheme) => {
            let value = joined(lines, name).unwrap_or_default();
            let all: Vec<Vec<u8>> = parts(&value);
            let mut ours = vec![];
            for part in value.split(',').map(str::trim_start) {
                match after_scheme(part, scheme) {
                    Some(secret) if begins(secret.as_bytes()) => {
                        ours.push(secret.as_bytes().to_vec());
                    }
                    // Beside another it may be read as one more secret, alone it is none.
                    None if begins(part.as_bytes()) => ours.push(vec![]),
                    _ => {}
                }
            }
            (ours, all.len())
        }
        NaivePlace::Header(name) => {
            let all = joined(lines, name).map_or(vec![], |value| parts(&value));
            let ours = all.iter().filter(|part| begins(part.trim_ascii_start()));
            (ours.cloned().collect(), all.len())
        }
        NaivePlace::Query(_) | NaivePlace::Cookie(_) => {
            let all = values(place, lines, query);
            let ours = all.iter().filter(|value| begins(value));
            (ours.cloned().collect(), all.len())
        }
    };
    match (ours.first(), all) {
        (None, _) => Held::Nothing,
        (Some(one), 1) if one.is_empty() => Held::Nothing,
        (Some(one), 1) => Held::Secret(one.clone()),
        (Some(_), _) => Held::Two,
    }
}

/// All that a parameter or a cookie of that name holds.
fn values(place: &NaivePlace, lines: &[(String, String)], query: &[u8]) -> Vec<Vec<u8>> {
    match *place {
        NaivePlace::Query(name) => {
            let named = parameters(query)
                .into_iter()
                .filter(|(raw, _)| raw == name.as_bytes());
            named.map(|(_, value)| value).collect()
        }
        NaivePlace::Cookie(name) => {
            let named = cookies(lines).into_iter().filter(|(raw, _, _)| raw == name);
            named.map(|(_, value, _)| value.into_bytes()).collect()
        }
        NaivePlace::Header(_) | NaivePlace::Scheme(..) => vec![],
    }
}

fn held_by_any(place: &NaivePlace, lines: &[(String, String)], query: &[u8]) -> Held {
    match *place {
        NaivePlace::Header(name) => match joined(lines, name) {
            None => Held::Nothing,
            Some(value) => one_of(parts(&value)),
        },
        NaivePlace::Scheme(name, scheme) => {
            let value = joined(lines, name).unwrap_or_default();
            if let Some(rest) = after_scheme(&value, scheme) {
                return one_of(parts(rest));
            }
            let mut others = value.split(',').skip(1).map(str::trim_start);
            if others.any(|part| after_scheme(part, scheme).is_some()) {
                return Held::Two;
            }
            Held::Nothing
        }
        NaivePlace::Query(_) | NaivePlace::Cookie(_) => one_of(values(place, lines, query)),
    }
}
