//! Checks identity headers.
//!
//! Upstreams trust them, so no other header may be taken for one: no second identity header and no
//! credential header, in any spelling that a program could read as the same name.

use super::spec::{CredentialSpec, IdentitySpec};
use crate::authz::identity::{IdentityField, IdentityHeaders, IdentityName};
use crate::authz::token::is_alias;
use crate::yaml::FieldPath;

/// The checked form.
pub(super) fn check(
    spec: &IdentitySpec,
    credentials: &[CredentialSpec],
    top: &FieldPath<'_>,
) -> Option<IdentityHeaders> {
    let at = top.field("identity");
    let at = at.field("headers");
    let before = at.problems_so_far();
    let mut headers: Vec<(IdentityName, IdentityField)> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (name, field) in spec.headers.iter() {
        let here = at.field(name);
        let field = here.note(field.parse::<IdentityField>());
        let Some(checked) = here.name().note(name.parse::<IdentityName>()) else {
            continue;
        };
        if let Some(other) = names.iter().find(|other| checked.is_alias_of(other)) {
            here.name().problem_with_help(
                format!("an upstream could take it for `{other}`"),
                "names must differ in more than case and characters besides letters and digits",
            );
            continue;
        }
        names.push(name);
        let mut credential_headers = credentials
            .iter()
            .filter_map(|credential| credential.header.as_deref());
        if let Some(header) =
            credential_headers.find(|header| is_alias(header.as_bytes(), name.as_bytes()))
        {
            here.name().problem_with_help(
                format!("the credential header `{header}` has this name too"),
                "choose another name",
            );
            continue;
        }
        headers.extend(field.map(|field| (checked, field)));
    }
    // Repeated names are reported above; what is left has none.
    let headers = IdentityHeaders::new(headers).ok();
    headers.filter(|_| at.problems_so_far() == before)
}
