//! Decodes a `CheckRequest` without copying: its bytes in, borrowed `RequestAttributes` out.
//!
//! Only the fields that a decision needs are read; all others are skipped by their length, since
//! decoding them would be most of the cost of a check. It accepts what protobuf accepts: fields in
//! any order, messages in parts that merge, unknown fields of every kind. The tests compare it with
//! prost on the same bytes and schema. The one intended difference is that text need not be UTF-8
//! here, since what clients send is compared as bytes. Bytes that are not a `CheckRequest` must
//! never be read as one.

mod field;
mod lines;

use std::net::{IpAddr, Ipv6Addr};

use self::field::{Field, Fields};
use self::lines::Lines;
use crate::authz::request::RequestAttributes;

pub use self::field::DecodeError;

/// The key in `context_extensions` by which an Envoy route names its rule.
pub const RULE_EXTENSION: &str = "keyward.rule";

/// Reads the attributes out of the bytes of a `CheckRequest`.
///
/// `None` is a request without HTTP attributes, which Envoy's network filter sends: there is
/// nothing to decide.
///
/// # Errors
/// The bytes are not a `CheckRequest`.
pub fn decode_request(check_request: &[u8]) -> Result<Option<RequestAttributes<'_>>, DecodeError> {
    let mut attributes = AttributesBuilder::default();
    each(check_request, |field| match field.number {
        check_request::ATTRIBUTES => attributes.read(field.bytes()?),
        _ => Ok(()),
    })?;
    Ok(attributes.build())
}

/// The attributes read so far. Parts of a message merge by passing through the same methods again.
#[derive(Debug, Default)]
struct AttributesBuilder<'a> {
    is_http: bool,
    method: &'a [u8],
    host: &'a [u8],
    target: &'a [u8],
    scheme: &'a [u8],
    lines: Lines<'a>,
    /// The text of the peer's address, where that is an IP socket's.
    peer: Option<&'a [u8]>,
    rule: Option<&'a [u8]>,
}

impl<'a> AttributesBuilder<'a> {
    fn read(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        each(message, |field| match field.number {
            attribute_context::SOURCE => self.peer(field.bytes()?),
            attribute_context::REQUEST => self.request(field.bytes()?),
            attribute_context::CONTEXT_EXTENSIONS => {
                let (name, value) = entry(field.bytes()?)?;
                if name == RULE_EXTENSION.as_bytes() {
                    self.rule = Some(value);
                }
                Ok(())
            }
            _ => Ok(()),
        })
    }

    fn peer(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        each(message, |field| match field.number {
            peer::ADDRESS => self.address(field.bytes()?),
            _ => Ok(()),
        })
    }

    fn address(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        each(message, |field| match field.number {
            address::SOCKET_ADDRESS => {
                let text = self.peer.get_or_insert_default();
                each(field.bytes()?, |field| {
                    if field.number == socket_address::ADDRESS {
                        *text = field.bytes()?;
                    }
                    Ok(())
                })
            }
            // The last member of a oneof wins.
            address::PIPE | address::ENVOY_INTERNAL_ADDRESS => {
                field.bytes()?;
                self.peer = None;
                Ok(())
            }
            _ => Ok(()),
        })
    }

    fn request(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        each(message, |field| match field.number {
            request::HTTP => self.http(field.bytes()?),
            _ => Ok(()),
        })
    }

    fn http(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        self.is_http = true;
        each(message, |field| {
            match field.number {
                http_request::HEADERS => {
                    let (name, value) = entry(field.bytes()?)?;
                    self.lines.insert(name, value);
                }
                http_request::METHOD => self.method = field.bytes()?,
                http_request::PATH => self.target = field.bytes()?,
                http_request::HOST => self.host = field.bytes()?,
                http_request::SCHEME => self.scheme = field.bytes()?,
                http_request::HEADER_MAP => self.header_map(field.bytes()?)?,
                _ => {}
            }
            Ok(())
        })
    }

    fn header_map(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        each(message, |field| {
            if field.number == header_map::HEADERS {
                let (name, value) = header_value(field.bytes()?)?;
                self.lines.append(name, value);
            }
            Ok(())
        })
    }

    fn build(self) -> Option<RequestAttributes<'a>> {
        self.is_http.then(|| RequestAttributes {
            method: self.method,
            host: self.host,
            target: self.target,
            scheme: self.scheme,
            headers: self.lines.into_lines().into_iter().collect(),
            peer: self.peer.and_then(ip),
            rule: self.rule,
        })
    }
}

/// Reads a message field by field.
#[inline]
fn each<'a>(
    message: &'a [u8],
    mut read: impl FnMut(Field<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut fields = Fields::of(message);
    while let Some(field) = fields.next()? {
        read(field)?;
    }
    Ok(())
}

/// The name and value of an entry of a map of strings; what is absent is empty.
#[inline]
fn entry(message: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    usual_entry(message).map_or_else(|| any_entry(message), Ok)
}

/// Reads an entry in the form that every encoder writes: first the name, then the value, and
/// nothing else. There is one for each header, so this is most of the work.
#[inline]
fn usual_entry(message: &[u8]) -> Option<(&[u8], &[u8])> {
    const NAME: u8 = 0x0a;
    const VALUE: u8 = 0x12;
    let [NAME, length @ ..0x80, rest @ ..] = message else {
        return None;
    };
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (length, value) = match rest {
        [VALUE, length @ ..0x80, value @ ..] => (usize::from(*length), value),
        [VALUE, low, high @ ..0x80, value @ ..] => {
            (usize::from(*high) << 7 | usize::from(*low & 0x7f), value)
        }
        _ => return None,
    };
    (value.len() == length).then_some((name, value))
}

/// Reads an entry in any form.
#[cold]
fn any_entry(message: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let (mut name, mut value) = (&[][..], &[][..]);
    each(message, |field| {
        match field.number {
            map_entry::KEY => name = field.bytes()?,
            map_entry::VALUE => value = field.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, value))
}

/// The name and value of a `HeaderValue`: Envoy sets `raw_value` or `value`, never both.
#[inline]
fn header_value(message: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let (mut name, mut text, mut raw) = (&[][..], &[][..], &[][..]);
    each(message, |field| {
        match field.number {
            header_value::KEY => name = field.bytes()?,
            header_value::VALUE => text = field.bytes()?,
            header_value::RAW_VALUE => raw = field.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, if raw.is_empty() { text } else { raw }))
}

/// Reads an IP address as Envoy writes it. An IPv4 address in IPv6's form, which a listener on `::`
/// reports for IPv4 clients, becomes the IPv4 address that operators write in `allow_ips`; the
/// interface after `%` is dropped.
fn ip(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let address = match text.split_once('%') {
        Some((address, _)) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    address.map(|address: IpAddr| address.to_canonical())
}

/// Field numbers, by message; `proto/` says what they are.
mod check_request {
    pub(super) const ATTRIBUTES: u32 = 1;
}

mod attribute_context {
    pub(super) const SOURCE: u32 = 1;
    pub(super) const REQUEST: u32 = 4;
    pub(super) const CONTEXT_EXTENSIONS: u32 = 10;
}

mod peer {
    pub(super) const ADDRESS: u32 = 1;
}

mod address {
    pub(super) const SOCKET_ADDRESS: u32 = 1;
    pub(super) const PIPE: u32 = 2;
    pub(super) const ENVOY_INTERNAL_ADDRESS: u32 = 3;
}

mod socket_address {
    pub(super) const ADDRESS: u32 = 2;
}

mod request {
    pub(super) const HTTP: u32 = 2;
}

mod http_request {
    pub(super) const METHOD: u32 = 2;
    pub(super) const HEADERS: u32 = 3;
    pub(super) const PATH: u32 = 4;
    pub(super) const HOST: u32 = 5;
    pub(super) const SCHEME: u32 = 6;
    pub(super) const HEADER_MAP: u32 = 13;
}

mod header_map {
    pub(super) const HEADERS: u32 = 1;
}

mod header_value {
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const RAW_VALUE: u32 = 3;
}

mod map_entry {
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

#[cfg(test)]
mod tests;
