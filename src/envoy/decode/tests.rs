//! the decoder against prost: the same bytes, the same schema, the same attributes.

use std::net::IpAddr;

use envoy_types::pb as theirs;
use proptest::collection::{hash_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;

use super::{DecodeError, RULE_EXTENSION, decode_request};
use crate::envoy::proto::envoy::config::core::v3 as our_core;
use crate::envoy::proto::envoy::service::auth::v3 as our_auth;
use theirs::envoy::config::core::v3 as their_core;
use theirs::envoy::service::auth::v3 as their_auth;

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// A request's attributes in a form that can be compared: a map's order says nothing, the list's
/// does.
#[derive(Debug, PartialEq)]
struct Facts {
    method: Vec<u8>,
    host: Vec<u8>,
    target: Vec<u8>,
    scheme: Vec<u8>,
    map: Lines,
    listed: Lines,
    peer: Option<IpAddr>,
    rule: Option<Vec<u8>>,
}

/// What the decoder makes of the bytes; `listed` is how many lines come from the list.
fn facts_of(bytes: &[u8], listed: usize) -> Result<Option<Facts>, DecodeError> {
    Ok(decode_request(bytes)?.map(|request| {
        let mut map: Lines = request
            .headers
            .lines()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        let listed = map.split_off(map.len().saturating_sub(listed));
        map.sort();
        Facts {
            method: request.method.to_vec(),
            host: request.host.to_vec(),
            target: request.target.to_vec(),
            scheme: request.scheme.to_vec(),
            map,
            listed,
            peer: request.peer,
            rule: request.rule.map(<[u8]>::to_vec),
        }
    }))
}

/// The same facts from a decoded message, ours or theirs: their fields are of the same names.
macro_rules! facts {
    ($request:expr, $address:path) => {{
        let attributes = $request.attributes.clone().unwrap_or_default();
        let address = attributes
            .source
            .and_then(|peer| peer.address)
            .and_then(|address| address.address);
        let peer = match address {
            Some($address(socket)) => socket
                .address
                .parse::<IpAddr>()
                .ok()
                .map(|ip| ip.to_canonical()),
            _ => None,
        };
        let rule = attributes
            .context_extensions
            .get(RULE_EXTENSION)
            .map(|rule| rule.clone().into_bytes());
        attributes
            .request
            .and_then(|request| request.http)
            .map(|http| {
                let mut map: Lines = http
                    .headers
                    .into_iter()
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect();
                map.sort();
                let listed = http
                    .header_map
                    .unwrap_or_default()
                    .headers
                    .into_iter()
                    .map(|line| {
                        let value = if line.raw_value.is_empty() {
                            line.value.into_bytes()
                        } else {
                            line.raw_value.to_vec()
                        };
                        (line.key.into_bytes(), value)
                    });
                Facts {
                    method: http.method.into(),
                    host: http.host.into(),
                    target: http.path.into(),
                    scheme: http.scheme.into(),
                    map,
                    listed: listed.collect(),
                    peer,
                    rule,
                }
            })
    }};
}

/// Holds the decoder against prost on any bytes.
fn agrees_with_prost(bytes: &[u8]) -> Result<(), TestCaseError> {
    let decoded = our_auth::CheckRequest::decode(bytes);
    let expected = decoded
        .as_ref()
        .ok()
        .map(|request| facts!(request, our_core::address::Address::SocketAddress));
    let listed = expected
        .iter()
        .flatten()
        .map(|facts| facts.listed.len())
        .next()
        .unwrap_or(0);
    match (facts_of(bytes, listed), expected) {
        (Ok(found), Some(expected)) => prop_assert_eq!(found, expected),
        // Text that is not UTF-8 is prost's to refuse and the decoder's to pass on. And prost takes
        // an entry of a map for bytes without a look at its wire type; the maps are fields 3 and
        // 10.
        (_, None) | (Err(DecodeError::WireType(3 | 10)), Some(_)) => {}
        (Err(error), Some(_)) => {
            prop_assert!(false, "the decoder refuses what prost reads: {error}");
        }
    }
    Ok(())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[a-z=/?.-]{0,9}", 1 => "[a-z]{120,140}", 1 => Just("keyward.rule".to_owned()), 1 => ".{0,4}"]
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| IpAddr::from(octets).to_string()),
        any::<[u8; 16]>().prop_map(|octets| IpAddr::from(octets).to_string()),
        any::<[u8; 4]>().prop_map(|[a, b, c, d]| format!("::ffff:{a}.{b}.{c}.{d}")),
        text(),
    ]
}

prop_compose! {
    fn peer()(
        which in 0..4,
        address in address(),
        (service, principal) in (text(), text()),
        labels in hash_map(text(), text(), 0..3),
        port in any::<u32>(),
    ) -> their_auth::attribute_context::Peer {
        use their_core::address::Address;
        use their_core::socket_address::PortSpecifier::PortValue;
        let address = match which {
            0 => None,
            1 => Some(Address::Pipe(their_core::Pipe { path: address, mode: port })),
            2 => Some(Address::EnvoyInternalAddress(their_core::EnvoyInternalAddress::default())),
            _ => {
                let port_specifier = Some(PortValue(port));
                Some(Address::SocketAddress(their_core::SocketAddress { address, port_specifier, ..Default::default() }))
            }
        };
        let address = Some(their_core::Address { address });
        their_auth::attribute_context::Peer { address, service, labels, principal, ..Default::default() }
    }
}

prop_compose! {
    fn http()(
        (id, method, path, host, scheme, body) in (text(), text(), text(), text(), text(), text()),
        headers in prop_oneof![9 => hash_map(text(), text(), 0..12), 1 => hash_map(text(), text(), 60..90)],
        listed in option::of(vec((text(), text(), vec(any::<u8>(), 0..4)), 0..20)),
        size in any::<i64>(),
        raw_body in vec(any::<u8>(), 0..9),
    ) -> their_auth::attribute_context::HttpRequest {
        let header_map = listed.map(|listed| {
            let lines = listed.into_iter();
            let lines = lines.map(|(key, value, raw_value)| their_core::HeaderValue { key, value, raw_value });
            their_core::HeaderMap { headers: lines.collect() }
        });
        their_auth::attribute_context::HttpRequest {
            id, method, path, host, scheme, headers, header_map, size, body, raw_body, ..Default::default()
        }
    }
}

prop_compose! {
    fn request()(
        (source, destination) in (option::of(peer()), option::of(peer())),
        http in option::weighted(0.9, http()),
        seconds in any::<i64>(),
        context_extensions in hash_map(text(), text(), 0..4),
    ) -> their_auth::CheckRequest {
        let time = Some(theirs::google::protobuf::Timestamp { seconds, nanos: 1 });
        let request = Some(their_auth::attribute_context::Request { time, http });
        their_auth::CheckRequest { attributes: Some(their_auth::AttributeContext {
            source, destination, request, context_extensions, ..Default::default()
        }) }
    }
}

/// Bytes that are protobuf of some shape: small field numbers of every wire type, nested a few
/// levels.
fn shape() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        text().prop_map(String::into_bytes),
        address().prop_map(String::into_bytes),
        vec(any::<u8>(), 0..6),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let number = prop_oneof![6 => 1..6_u8, 1 => Just(10), 1 => Just(13), 1 => 0..16_u8];
        let field = (number, prop_oneof![12 => Just(2), 1 => 0..8_u8], inner).prop_map(
            |(number, wire_type, content)| {
                let mut field = vec![number << 3 | wire_type];
                if wire_type == 2 {
                    prost::encode_length_delimiter(content.len(), &mut field).unwrap();
                }
                field.extend(content);
                if wire_type == 3 {
                    field.push(number << 3 | 4);
                }
                field
            },
        );
        vec(field, 0..6).prop_map(|fields| fields.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_envoys_own_types_encode_is_read_as_they_mean_it(request in request()) {
        let expected = facts!(request, their_core::address::Address::SocketAddress);
        let listed = expected.as_ref().map_or(0, |facts| facts.listed.len());
        prop_assert_eq!(facts_of(&request.encode_to_vec(), listed), Ok(expected));
    }

    #[test]
    fn requests_in_parts_merge_as_prost_merges_them(parts in vec(request(), 0..4)) {
        agrees_with_prost(&parts.iter().flat_map(prost::Message::encode_to_vec).collect::<Vec<_>>())?;
    }

    #[test]
    fn damaged_requests_are_read_as_prost_reads_them_or_refused(
        request in request(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..6),
    ) {
        let mut bytes = request.encode_to_vec();
        for (at, byte, edit) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                _ => bytes.insert(at, byte),
            }
        }
        agrees_with_prost(&bytes)?;
    }

    #[test]
    fn messages_of_any_shape_are_read_as_prost_reads_them_or_refused(bytes in shape()) {
        agrees_with_prost(&bytes)?;
        // The same where the attributes are, the HTTP request, and the peer's address.
        for path in [&[1][..], &[1, 4], &[1, 4, 2], &[1, 1, 1]] {
            let wrapped = path.iter().rev().fold(bytes.clone(), |content, number| {
                let mut field = vec![number << 3 | 2];
                prost::encode_length_delimiter(content.len(), &mut field).unwrap();
                field.extend(content);
                field
            });
            agrees_with_prost(&wrapped)?;
        }
    }

    #[test]
    fn any_bytes_are_read_as_prost_reads_them_or_refused(bytes in vec(any::<u8>(), 0..64)) {
        agrees_with_prost(&bytes)?;
    }
}

#[test]
fn a_request_without_http_attributes_differs_from_a_malformed_one() {
    let named = our_auth::CheckRequest {
        attributes: Some(our_auth::AttributeContext::default()),
    }
    .encode_to_vec();
    assert!(matches!(decode_request(b""), Ok(None)));
    assert!(matches!(decode_request(&named), Ok(None)));
    assert!(
        matches!(decode_request(b"\x0a\x04\x22\x02\x12\x00"), Ok(Some(_))),
        "an empty HTTP request is one"
    );
    assert!(matches!(
        decode_request(b"\x0a\x04\x22\x02\x12\x01"),
        Err(DecodeError::Truncated(2))
    ));
    assert!(matches!(
        decode_request(b"\x08\x01"),
        Err(DecodeError::WireType(1))
    ));
}

#[test]
fn the_peer_is_an_ip_address_or_unknown() {
    let cases = [
        ("10.1.2.3", Some("10.1.2.3")),
        ("::ffff:10.1.2.3", Some("10.1.2.3")),
        ("2001:db8::1", Some("2001:db8::1")),
        ("fe80::1%2", Some("fe80::1")),
        ("10.1.2.3%2", None),
        ("10.1.2.3:80", None),
        ("[::1]", None),
        ("localhost", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(
            super::ip(text.as_bytes()),
            expected.map(|ip| ip.parse().unwrap()),
            "{text}"
        );
    }
    assert_eq!(super::ip(b"\xff"), None);
}

#[test]
fn text_that_is_not_utf8_is_passed_on() {
    let bytes = b"\x0a\x07\x22\x05\x12\x03\x12\x01\xff";
    assert!(our_auth::CheckRequest::decode(&bytes[..]).is_err());
    assert_eq!(decode_request(bytes).unwrap().unwrap().method, b"\xff");
}

#[test]
fn entries_of_maps_take_the_short_way_where_they_can_and_mean_the_same() {
    for (name_len, value_len, is_usual) in [
        (0, 0, true),
        (1, 127, true),
        (127, 128, true),
        (9, 129, true),
        (9, 255, true),
        (9, 256, true),
        (9, 16_383, true),
        (9, 16_384, false),
        (128, 1, false),
    ] {
        let (name, value) = (vec![b'n'; name_len], vec![b'v'; value_len]);
        let mut message = vec![0x0a];
        prost::encode_length_delimiter(name_len, &mut message).unwrap();
        message.extend(&name);
        message.push(0x12);
        prost::encode_length_delimiter(value_len, &mut message).unwrap();
        message.extend(&value);
        let expected = (name.as_slice(), value.as_slice());
        let case = format!("{name_len} and {value_len} bytes");
        assert_eq!(
            super::usual_entry(&message),
            is_usual.then_some(expected),
            "{case}"
        );
        assert_eq!(super::any_entry(&message), Ok(expected), "{case}");
        message.push(0);
        assert_eq!(super::usual_entry(&message), None, "{case} and one more");
        message.truncate(message.len() - 2);
        assert_eq!(super::usual_entry(&message), None, "one of {case} lacks");
    }
}
