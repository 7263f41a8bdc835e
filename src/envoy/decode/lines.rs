//! Collects header lines from either of the two formats that Envoy sends.
//!
//! Of entries of the `headers` map with one name the last wins, as protobuf requires, although
//! Envoy sends unique names; lines of `header_map` all stay. Detecting a repeated name costs one
//! bit test for each entry and never grows with the square of their number, since the bytes come
//! from a peer.

use std::collections::HashMap;

/// A header's name and value.
type Line<'a> = (&'a [u8], &'a [u8]);

/// Capacity for the headers of nearly every request, so that there is one allocation.
const USUAL_COUNT: usize = 32;
/// Up to so many entries, a repeated name is searched for linearly.
const SCANNED_COUNT: usize = 64;

/// The lines of one request.
#[derive(Debug, Default)]
pub(super) struct Lines<'a> {
    map: Vec<Line<'a>>,
    listed: Vec<Line<'a>>,
    /// One bit for each of 1024 hashes of the names in `map`: only a name whose bit is set can be a
    /// repeated one.
    seen: [u64; 16],
}

impl<'a> Lines<'a> {
    /// Takes an entry of the `headers` map.
    #[inline]
    pub(super) fn insert(&mut self, name: &'a [u8], value: &'a [u8]) {
        if self.map.capacity() == 0 {
            self.map.reserve(USUAL_COUNT);
        }
        let known = self.mark(name);
        if known && self.map.len() <= SCANNED_COUNT && self.replace(name, value) {
            return;
        }
        self.map.push((name, value));
    }

    /// Takes a line of `header_map`.
    #[inline]
    pub(super) fn append(&mut self, name: &'a [u8], value: &'a [u8]) {
        if self.listed.capacity() == 0 {
            self.listed.reserve(USUAL_COUNT);
        }
        self.listed.push((name, value));
    }

    /// Every line: those of the map first, each name once, then those of the list.
    pub(super) fn into_lines(self) -> Vec<Line<'a>> {
        let mut lines = if self.map.len() > SCANNED_COUNT {
            last_of_each(self.map)
        } else {
            self.map
        };
        if lines.is_empty() {
            return self.listed;
        }
        lines.extend(self.listed);
        lines
    }

    /// Sets the bit of the name's hash and returns whether it was set before.
    #[inline]
    fn mark(&mut self, name: &[u8]) -> bool {
        let hash = kind(name);
        let bit = 1 << (hash >> 54 & 63);
        let word = usize::try_from(hash >> 60)
            .ok()
            .and_then(|at| self.seen.get_mut(at));
        word.is_none_or(|word| {
            let known = *word & bit != 0;
            *word |= bit;
            known
        })
    }

    #[cold]
    fn replace(&mut self, name: &[u8], value: &'a [u8]) -> bool {
        let line = self.map.iter_mut().find(|line| line.0 == name);
        line.map(|line| line.1 = value).is_some()
    }
}

/// Hashes a name's length and ends. Names that collide, by chance or by design, cost a scan of 64
/// lines at most.
#[inline]
fn kind(name: &[u8]) -> u64 {
    let ends = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(23)
        }
        _ => name.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)),
    };
    let length = u64::try_from(name.len()).unwrap_or(u64::MAX);
    (ends ^ length).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Each name with its last value, in the order in which the names first came.
#[cold]
fn last_of_each(lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    // The standard hasher has a random key: no sender can choose names that collide in it.
    let mut places = HashMap::with_capacity(lines.len());
    let mut kept: Vec<Line<'_>> = Vec::with_capacity(lines.len());
    for (name, value) in lines {
        let place = *places.entry(name).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(line) => line.1 = value,
            None => kept.push((name, value)),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_map_name_wins_however_many_names_there_are() {
        for count in [1, 2, 33, 63, 64, 65, 66, 200, 3000] {
            let names: Vec<String> = (0..count).map(|n| format!("x-{n}")).collect();
            let mut lines = Lines::default();
            for value in [b"first", b"later"] {
                for name in &names {
                    lines.insert(name.as_bytes(), value);
                }
            }
            let expected: Vec<Line<'_>> = names
                .iter()
                .map(|name| (name.as_bytes(), &b"later"[..]))
                .collect();
            assert_eq!(lines.into_lines(), expected, "{count} names");
        }
    }

    #[test]
    fn names_that_differ_in_case_are_two_names() {
        let mut lines = Lines::default();
        lines.insert(b"x-api-key", b"1");
        lines.insert(b"X-Api-Key", b"2");
        assert_eq!(lines.into_lines().len(), 2);
    }

    #[test]
    fn lines_of_the_list_all_stay_beside_those_of_the_map() {
        let mut lines = Lines::default();
        lines.append(b"a", b"1");
        lines.insert(b"a", b"2");
        lines.append(b"a", b"3");
        assert_eq!(
            lines.into_lines(),
            [(&b"a"[..], &b"2"[..]), (b"a", b"1"), (b"a", b"3")]
        );
    }

    #[test]
    fn the_usual_request_asks_for_memory_once() {
        let mut lines = Lines::default();
        lines.insert(b"a", b"");
        let before = lines.map.as_ptr();
        let more: Vec<String> = (1..USUAL_COUNT).map(|n| n.to_string()).collect();
        for name in &more {
            lines.insert(name.as_bytes(), b"");
        }
        let lines = lines.into_lines();
        assert_eq!(lines.as_ptr(), before);
    }
}
