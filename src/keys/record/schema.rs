//! The JSON Schema of a keys file: its shape, and what the checks of a record refuse as far as a schema can say it.
//!
//! Patterns are of ECMA 262, whose dialect editors read, and of no more of it than other readers have. A test holds schema and
//! loader to each other.

use schemars::Schema;
use serde_json::{Value, json};

use super::KeysSpec;
use crate::authz::method::METHODS;

/// A path pattern: `**` alone in a segment, and no segment that no path has.
pub const PATH: &str =
    r"^/((\*\*|(?!\.{1,2}(/|$))([^*/?\[\]{}\\%;\x00-\x1f\x7f]|\*(?!\*))+)(/(?!$)|/?$))*$";
/// A host pattern.
pub const HOST: &str = r"^(\*\.)?([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[A-Za-z0-9_.:-]+\])(:(\*|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$";
/// A token of RFC 9110, such as a header's name.
pub const TOKEN: &str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
/// A scope token of RFC 6749.
pub const SCOPE: &str = r"^[\x21\x23-\x5b\x5d-\x7e]+$";
/// The name of a client or a plan.
pub const NAME: &str = r"^[A-Za-z0-9.:@/-][A-Za-z0-9._:@/-]{0,127}$";

/// A network or an address.
const NETWORK: &str = concat!(
    r"^(((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(/(3[0-2]|[12]?[0-9]))?",
    r"|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$",
);

/// The schema.
pub fn schema() -> Schema {
    let mut schema = schemars::schema_for!(KeysSpec);
    schema.insert("$id".to_owned(), "urn:keyward:schema:keys".into());
    let key = "/$defs/KeySpec/properties";
    let items = |member: &str| format!("{key}/{member}/items");
    for (pointer, more) in [
        (format!("{key}/client"), json!({"pattern": NAME})),
        (format!("{key}/plan"), json!({"pattern": NAME})),
        (items("scopes"), json!({"pattern": SCOPE})),
        (items("allow_ips"), json!({"pattern": NETWORK})),
        (items("allow_hosts"), json!({"pattern": HOST})),
        (items("allow_paths"), json!({"pattern": PATH})),
        (items("allow_methods"), method()),
        (format!("{key}/limits"), json!({"maxItems": 0})),
        (format!("{key}/mcp"), json!({"type": "null"})),
    ] {
        refine(&mut schema, &pointer, more);
    }
    schema
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
    json!({"pattern": TOKEN, "anyOf": [{"enum": METHODS}, other]})
}

/// Adds members to the part of a schema that a JSON pointer names.
pub fn refine(schema: &mut Schema, pointer: &str, more: Value) {
    let place = schema.pointer_mut(pointer).and_then(Value::as_object_mut);
    if let (Some(place), Value::Object(more)) = (place, more) {
        place.extend(more);
    }
}
