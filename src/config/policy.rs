//! Checks the policy: everything in the configuration that decides requests.
//!
//! Each part is checked even if another failed, so that all problems are reported at once.

use std::path::Path;

use super::digest::{self, Pepper};
use super::spec::ConfigSpec;
use super::{credentials, identity, rules};
use crate::authz::rule::Rules;
use crate::authz::snapshot::{Plans, Policy, Realm};
use crate::yaml::FieldPath;

/// The checked form, and what is remembered of the pepper.
pub(super) fn check(
    spec: &ConfigSpec,
    at: &FieldPath<'_>,
    base: &Path,
) -> Option<(Policy, Pepper)> {
    let places = credentials::check(&spec.credentials, &at.field("credentials"));
    let realm = check_realm(&spec.realm, &at.field("realm"));
    let digester = digest::check(&spec.digest, &at.field("digest"), base);
    let plans = rules::check_plans(&spec.plans, &at.field("plans"));
    let list = rules::check(&spec.rules, &at.field("rules"));
    let headers = identity::check(&spec.identity, &spec.credentials, at);
    let (digester, pepper) = digester?;
    let policy = Policy {
        credentials: places?,
        digester,
        rules: Rules {
            list: list?.into(),
            default: spec.default,
        },
        plans: Plans(plans?),
        identity: headers?,
        strip_credentials: spec.identity.strip_credentials,
        require_https: spec.require_https,
        realm: realm?,
        client_address: spec.client_address,
        mode: spec.mode,
    };
    Some((policy, pepper))
}

pub(super) fn check_realm(text: &str, at: &FieldPath<'_>) -> Option<Realm> {
    let realm = Realm::new(text);
    if realm.is_none() {
        at.problem_with_help(
            "a character that could break out of the challenge",
            "visible ASCII and spaces without `\"` and `\\` may stand in a realm",
        );
    }
    realm
}
