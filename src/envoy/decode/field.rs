//! Protobuf's fields, read in place.
//!
//! Takes the bytes of one message and yields its fields one after the other, their content
//! borrowed. It knows no schema: the caller picks the field numbers that it knows, and the next
//! call has skipped all others by their length. Every length is checked against the end of the
//! message, so that no input can lead outside of it
//! (<https://protobuf.dev/programming-guides/encoding/>).

use thiserror::Error;

/// How deep groups, which no current schema has, may be nested in an unknown field. prost has the
/// same limit.
const GROUP_DEPTH: u32 = 100;

/// The bytes are not the protobuf message that they were sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A field reaches past the end of its message.
    #[error("field {0} reaches past the end of its message")]
    Truncated(u32),
    /// A variable-length number has no end within ten bytes and 64 bits.
    #[error("number without an end")]
    Varint,
    /// A field's key has no field number or a wire type that does not exist.
    #[error("field key {0} does not exist")]
    Key(u64),
    /// A field that is known to hold bytes or a message holds something else.
    #[error("field {0} has another wire type than its schema says")]
    WireType(u32),
    /// A group ends that did not begin, or is nested too deeply.
    #[error("group of field {0} has no beginning or too many levels")]
    Group(u32),
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    /// Its number in the schema.
    pub(super) number: u32,
    /// What it holds, if that is bytes, a string or a message.
    content: Option<&'a [u8]>,
}

/// The fields of a message that are not yet read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Field<'a> {
    /// The bytes of a field that the schema says to be a string, bytes or a message.
    #[inline]
    pub(super) fn bytes(self) -> Result<&'a [u8], DecodeError> {
        self.content.ok_or(DecodeError::WireType(self.number))
    }
}

impl<'a> Fields<'a> {
    /// The fields of the message that these bytes are.
    #[inline]
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        // Nearly every field that is sent: a number below 16 and at most 127 bytes of content.
        if let [key @ 8..0x80, length @ ..0x80, rest @ ..] = self.rest
            && key & 7 == LENGTH_DELIMITED
            && let Some((content, rest)) = rest.split_at_checked(usize::from(*length))
        {
            self.rest = rest;
            return Ok(Some(Field {
                number: u32::from(key >> 3),
                content: Some(content),
            }));
        }
        if self.rest.is_empty() {
            Ok(None)
        } else {
            self.any_field().map(Some)
        }
    }

    /// The next field, whatever its form.
    #[inline(never)]
    fn any_field(&mut self) -> Result<Field<'a>, DecodeError> {
        let (number, wire_type) = self.key()?;
        let content = if wire_type == LENGTH_DELIMITED {
            Some(self.delimited(number)?)
        } else {
            self.skip(number, wire_type, GROUP_DEPTH)?;
            None
        };
        Ok(Field { number, content })
    }

    #[inline]
    fn key(&mut self) -> Result<(u32, u8), DecodeError> {
        let key = self.varint()?;
        let number = u32::try_from(key).map_err(|_| DecodeError::Key(key))? >> 3;
        let [.., low] = key.to_be_bytes();
        let wire_type = low & 7;
        if number == 0 || wire_type > FIXED32 {
            return Err(DecodeError::Key(key));
        }
        Ok((number, wire_type))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.rest.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(DecodeError::Varint)?;
            self.rest = rest;
            // The tenth byte has room for one bit; more would not fit into 64.
            if shift == 63 && *byte > 1 {
                return Err(DecodeError::Varint);
            }
            value |= u64::from(*byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    #[inline]
    fn delimited(&mut self, number: u32) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated(number))?;
        self.take(length, number)
    }

    #[inline]
    fn take(&mut self, length: usize, number: u32) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated(number))?;
        self.rest = rest;
        Ok(taken)
    }

    fn skip(&mut self, number: u32, wire_type: u8, depth: u32) -> Result<(), DecodeError> {
        match wire_type {
            VARINT => self.varint().map(drop),
            FIXED64 => self.take(8, number).map(drop),
            FIXED32 => self.take(4, number).map(drop),
            LENGTH_DELIMITED => self.delimited(number).map(drop),
            GROUP_START => self.skip_group(number, depth),
            _ => Err(DecodeError::Group(number)),
        }
    }

    fn skip_group(&mut self, number: u32, depth: u32) -> Result<(), DecodeError> {
        let depth = depth.checked_sub(1).ok_or(DecodeError::Group(number))?;
        loop {
            let (inner, wire_type) = self.key()?;
            if wire_type == GROUP_END && inner == number {
                return Ok(());
            }
            self.skip(inner, wire_type, depth)?;
        }
    }
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const GROUP_START: u8 = 3;
const GROUP_END: u8 = 4;
const FIXED32: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    type Seen<'a> = (u32, Option<&'a [u8]>);

    /// The numbers and contents of all fields.
    fn all(bytes: &[u8]) -> Result<Vec<Seen<'_>>, DecodeError> {
        let mut fields = Fields::of(bytes);
        let mut seen = Vec::new();
        while let Some(field) = fields.next()? {
            seen.push((field.number, field.content));
        }
        Ok(seen)
    }

    #[test]
    fn every_wire_type_is_read_to_its_end() {
        let bytes = [
            &[0x08, 0x96, 0x01][..],            // 1: varint 150
            &[0x11, 1, 2, 3, 4, 5, 6, 7, 8],    // 2: fixed64
            &[0x1a, 2, b'h', b'i'],             // 3: bytes
            &[0x23, 0x08, 1, 0x2b, 0x2c, 0x24], // 4: group with a varint and an empty group 5
            &[0x35, 1, 2, 3, 4],                // 6: fixed32
            &[0x82, 0x01, 0],                   // 16: empty bytes, key of two bytes
        ]
        .concat();
        let expected = vec![
            (1, None),
            (2, None),
            (3, Some(&b"hi"[..])),
            (4, None),
            (6, None),
            (16, Some(&b""[..])),
        ];
        assert_eq!(all(&bytes), Ok(expected));
    }

    #[test]
    fn what_is_not_protobuf_is_refused() {
        let deep = [0x0b].repeat(101);
        let cases: [(&str, &[u8], DecodeError); 12] = [
            (
                "bytes longer than the message",
                &[0x0a, 3, 1, 2],
                DecodeError::Truncated(1),
            ),
            (
                "a length beyond any memory",
                &[
                    0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
                ],
                DecodeError::Truncated(1),
            ),
            ("no length", &[0x0a], DecodeError::Varint),
            ("a cut fixed64", &[0x09, 1], DecodeError::Truncated(1)),
            ("a cut fixed32", &[0x0d, 1], DecodeError::Truncated(1)),
            ("a cut varint", &[0x08, 0x80], DecodeError::Varint),
            (
                "a varint of 65 bits",
                &[
                    0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
                ],
                DecodeError::Varint,
            ),
            ("field number 0", &[0x02, 0], DecodeError::Key(2)),
            ("wire type 6", &[0x0e], DecodeError::Key(14)),
            (
                "a key of more than 32 bits",
                &[0x80, 0x80, 0x80, 0x80, 0x10],
                DecodeError::Key(1 << 32),
            ),
            ("the end of no group", &[0x0c], DecodeError::Group(1)),
            ("groups without a bottom", &deep, DecodeError::Group(1)),
        ];
        for (case, bytes, expected) in cases {
            assert_eq!(all(bytes), Err(expected), "{case}");
        }
    }
}
