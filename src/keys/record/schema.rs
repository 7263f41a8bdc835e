//! The JSON Schema of a keys file: its shape, and what the checks of a record refuse as far as a
//! schema can say it.
//!
//! Patterns are of ECMA 262, whose dialect editors read, and of no more of it than other readers
//! have. A test holds schema and loader to each other.

use std::sync::OnceLock;

use schemars::Schema;
use serde_json::{Value, json};

use super::check::check_network;
use super::{KeyList, KeySpec, KeysSpec};
use crate::authz::digest::KeyDigest;
use crate::authz::host::HostPattern;
use crate::authz::key::{ClientName, KeyId, PlanName, SecretId};
use crate::authz::method::{METHODS, Method};
use crate::authz::path::PathPattern;
use crate::authz::scope::Scope;
use crate::yaml::{Document, Format, Shape, parses};

/// The name of a client or a plan.
const NAME: &str = r"^[A-Za-z0-9.:@/-][A-Za-z0-9._:@/-]{0,127}$";
/// A token of RFC 9110, such as a header's name.
pub const TOKEN: &str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// A path pattern: `**` alone in a segment, and no segment that no path has.
pub const PATH: Format = Format {
    name: "path-pattern",
    pattern: r"^/((\*\*|(?!\.{1,2}(/|$))([^*/?\[\]{}\\%;\x00-\x1f\x7f]|\*(?!\*))+)(/(?!$)|/?$))*$",
    check: parses::<PathPattern>,
};
/// A host pattern.
pub const HOST: Format = Format {
    name: "host-pattern",
    pattern: r"^(\*\.)?([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[A-Za-z0-9_.:-]+\])(:(\*|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$",
    check: parses::<HostPattern>,
};
/// A method's name.
pub const METHOD: Format = Format {
    name: "method-name",
    pattern: TOKEN,
    check: parses::<Method>,
};
/// A scope token of RFC 6749.
pub const SCOPE: Format = Format {
    name: "scope-token",
    pattern: r"^[\x21\x23-\x5b\x5d-\x7e]+$",
    check: parses::<Scope>,
};
/// The name of a client.
pub const CLIENT: Format = Format {
    name: "client-name",
    pattern: NAME,
    check: parses::<ClientName>,
};
/// The name of a plan.
pub const PLAN: Format = Format {
    name: "plan-name",
    pattern: NAME,
    check: parses::<PlanName>,
};
/// A network or an address.
const NETWORK: Format = Format {
    name: "network",
    pattern: concat!(
        r"^(((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(/(3[0-2]|[12]?[0-9]))?",
        r"|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$",
    ),
    check: |text, at| _ = check_network(text, at),
};
const KEY_ID: Format = Format {
    name: "key-id",
    pattern: r"^[A-Za-z0-9.-][A-Za-z0-9._-]{0,63}$",
    check: parses::<KeyId>,
};
const SECRET_ID: Format = Format {
    name: "secret-id",
    pattern: r"^[A-Za-z0-9._-]{1,32}$",
    check: parses::<SecretId>,
};
const DIGEST: Format = Format {
    name: "secret-digest",
    pattern: r"^blake3(-keyed)?:[0-9A-Fa-f]{64}$",
    check: parses::<KeyDigest>,
};

const FORMATS: &[Format] = &[
    PATH, HOST, METHOD, SCOPE, CLIENT, PLAN, NETWORK, KEY_ID, SECRET_ID, DIGEST,
];

/// The schema.
pub fn schema() -> Schema {
    let mut schema = schemars::schema_for!(KeysSpec);
    schema.insert("$id".to_owned(), "urn:keyward:schema:keys".into());
    refine_keys(&mut schema);
    schema
}

/// The formats that configurations have too.
pub fn shared_formats() -> impl Iterator<Item = &'static Format> {
    FORMATS.iter()
}

fn refine_keys(schema: &mut Schema) {
    let key = "/$defs/KeySpec/properties";
    let items = |member: &str| format!("{key}/{member}/items");
    for (pointer, more) in [
        (format!("{key}/id"), KEY_ID.members()),
        (format!("{key}/client"), CLIENT.members()),
        (format!("{key}/plan"), PLAN.members()),
        (
            format!("{key}/secrets"),
            json!({"minItems": 1, "errorMessage": super::check::NO_SECRET}),
        ),
        (items("scopes"), SCOPE.members()),
        (items("allow_ips"), NETWORK.members()),
        (items("allow_hosts"), HOST.members()),
        (items("allow_paths"), PATH.members()),
        (items("allow_methods"), method()),
        (
            format!("{key}/limits"),
            not_yet("limits", json!({"maxItems": 0})),
        ),
        (
            format!("{key}/mcp"),
            not_yet("mcp", json!({"type": "null"})),
        ),
        (
            "/$defs/SecretSpec/properties/digest".to_owned(),
            DIGEST.members(),
        ),
        (
            "/$defs/SecretSpec/properties/id".to_owned(),
            SECRET_ID.members(),
        ),
    ] {
        refine(schema, &pointer, more);
    }
}

fn not_yet(member: &str, mut more: Value) -> Value {
    let message = format!("not supported yet; leave `{member}` out");
    if let Some(members) = more.as_object_mut() {
        members.insert("errorMessage".to_owned(), message.into());
    }
    more
}

/// A method's name: any token that is no misspelt common one.
pub fn method() -> Value {
    let any_case = |name: &str| -> String {
        let letters = name.chars();
        letters
            .flat_map(|letter| ['[', letter, letter.to_ascii_lowercase(), ']'])
            .collect()
    };
    let spellings: Vec<String> = METHODS.iter().map(|name| any_case(name)).collect();
    let other = json!({"not": {"pattern": format!("^({})$", spellings.join("|"))}});
    let mut members = METHOD.members();
    if let Some(members) = members.as_object_mut() {
        members.insert("anyOf".to_owned(), json!([{"enum": METHODS}, other]));
    }
    members
}

/// Adds members to the part of a schema that a JSON pointer names; to a list that is there, its
/// items.
pub fn refine(schema: &mut Schema, pointer: &str, more: Value) {
    let place = schema.pointer_mut(pointer).and_then(Value::as_object_mut);
    let (Some(place), Value::Object(more)) = (place, more) else {
        return;
    };
    for (name, value) in more {
        match (place.get_mut(&name), value) {
            (Some(Value::Array(there)), Value::Array(more)) => there.extend(more),
            (_, value) => _ = place.insert(name, value),
        }
    }
}

// === impl Document ===

impl Document for KeysSpec {
    fn shape() -> &'static Shape {
        static SHAPE: OnceLock<Shape> = OnceLock::new();
        SHAPE.get_or_init(|| Shape::new(&schema(), FORMATS))
    }
}

impl Document for KeySpec {
    fn shape() -> &'static Shape {
        static SHAPE: OnceLock<Shape> = OnceLock::new();
        SHAPE.get_or_init(|| part("#/$defs/KeySpec"))
    }
}

impl Document for KeyList {
    fn shape() -> &'static Shape {
        static SHAPE: OnceLock<Shape> = OnceLock::new();
        SHAPE.get_or_init(|| part("#/properties/keys"))
    }
}

/// The shape of a part of a keys file.
fn part(reference: &str) -> Shape {
    let mut schema = schema();
    let definitions = schema.remove("$defs").unwrap_or_default();
    let properties = schema.remove("properties").unwrap_or_default();
    let part = json!({"$ref": reference, "$defs": definitions, "properties": properties});
    Shape::new(&Schema::try_from(part).unwrap_or_default(), FORMATS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_of_the_schema_has_its_check() {
        let unknown = crate::yaml::tests::unknown_formats(KeysSpec::shape());
        assert_eq!(unknown, Vec::<String>::new());
    }
}
