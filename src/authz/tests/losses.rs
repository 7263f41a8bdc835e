//! The oracle of what an allowed request loses on its way upstream.

use std::collections::BTreeSet;

use super::naive::{NaivePlace, NaiveRequest, World};
use super::oracle::query_of;
use super::texts;

/// What goes, and what stays of the cookies.
#[derive(Debug, PartialEq)]
pub(crate) struct Losses {
    /// Header names in lower case, without the cookie header.
    pub(crate) headers: BTreeSet<String>,
    /// Names of query parameters, undecoded.
    pub(crate) query: BTreeSet<String>,
    /// `None`: the cookie header stays as it is; empty: it goes.
    pub(crate) cookies: Option<Vec<String>>,
}

pub(crate) fn of(world: &World, request: &NaiveRequest) -> Losses {
    let mut losses = Losses {
        headers: BTreeSet::new(),
        query: BTreeSet::new(),
        cookies: None,
    };
    let like = |name: &str| {
        let lower = name.to_ascii_lowercase();
        lower.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
    };
    for (name, _) in &request.lines {
        let lower = name.to_ascii_lowercase();
        let named = world
            .identity
            .iter()
            .any(|(identity, _)| lower == *identity);
        let alike = world
            .identity
            .iter()
            .any(|(identity, _)| like(name) == like(identity));
        if alike && !named {
            losses.headers.insert(lower);
        }
    }
    if !world.strip {
        return losses;
    }
    // Everything begins with nothing.
    let prefix = world.prefix.unwrap_or_default();
    let cookies = texts::cookies(&request.lines);
    let mut gone = Vec::new();
    let query = query_of(&request.target);
    for place in &world.places {
        let held = texts::held(place, world.prefix, &request.lines, query);
        match *place {
            NaivePlace::Header(name) | NaivePlace::Scheme(name, _) if world.prefix.is_some() => {
                if held != texts::Held::Nothing {
                    losses.headers.insert(name.to_owned());
                }
            }
            NaivePlace::Header(name) => _ = losses.headers.insert(name.to_owned()),
            NaivePlace::Scheme(name, scheme) => {
                let value = texts::joined(&request.lines, name).unwrap_or_default();
                let mut parts = value.split(',').map(str::trim_start);
                if parts.any(|part| texts::after_scheme(part, scheme).is_some()) {
                    losses.headers.insert(name.to_owned());
                }
            }
            NaivePlace::Query(name) => {
                let parameters = texts::parameters(query);
                let ours = |value: &[u8]| value.starts_with(prefix.as_bytes());
                if parameters
                    .iter()
                    .any(|(raw, value)| raw == name.as_bytes() && ours(value))
                {
                    losses.query.insert(name.to_owned());
                }
            }
            NaivePlace::Cookie(name) => gone.push(name),
        }
    }
    let goes = |(name, value, _): &(String, String, String)| {
        gone.contains(&name.as_str()) && value.starts_with(prefix)
    };
    if cookies.iter().any(goes) {
        let left = cookies.iter().filter(|cookie| !goes(cookie));
        losses.cookies = Some(left.map(|(_, _, whole)| whole.clone()).collect());
    }
    losses
}
