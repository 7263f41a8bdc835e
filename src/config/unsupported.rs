//! Refuses members that this version knows and does not support yet.
//!
//! An operator who sets one must not believe that it works, so each is refused by name. Their
//! defaults are accepted.

use super::NOT_SUPPORTED_YET;
use super::spec::{BackendSpec, ConfigSpec, KeyFormatSpec, LimitsSpec};
use crate::yaml::FieldPath;

/// Notes a problem for each of them that differs from its default.
pub(super) fn refuse(spec: &ConfigSpec, at: &FieldPath<'_>) {
    let server = at.field("server");
    for (is_used, place, name) in [
        (
            spec.server.workers.is_some(),
            server.field("workers"),
            "workers",
        ),
        (
            spec.key_format != KeyFormatSpec::default(),
            at.field("key_format"),
            "key_format",
        ),
        (
            spec.default_plan.is_some(),
            at.field("default_plan"),
            "default_plan",
        ),
        (spec.usage.is_some(), at.field("usage"), "usage"),
    ] {
        if is_used {
            place.problem_with_help(NOT_SUPPORTED_YET, format!("leave `{name}` out"));
        }
    }
    refuse_limits(&spec.limits, &at.field("limits"));
}

fn refuse_limits(spec: &LimitsSpec, at: &FieldPath<'_>) {
    if spec.backend == BackendSpec::Redis {
        at.field("backend")
            .problem_with_help(NOT_SUPPORTED_YET, "use `local`");
    }
    if spec.redis.is_some() {
        at.field("redis")
            .problem_with_help(NOT_SUPPORTED_YET, "leave it out");
    }
    if spec.time_zone != LimitsSpec::default().time_zone {
        at.field("time_zone")
            .problem_with_help(NOT_SUPPORTED_YET, "use `UTC`");
    }
}
