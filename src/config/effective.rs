//! The configuration as it may be shown: whole, for `/config`, and the source of its keys.
//!
//! Secrets are in files, of which the configuration has the names, or come from the environment. A
//! value from the environment is shown as the file has it, `${NAME}`.

use std::path::Path;

use serde_json::Value;

use super::digest::accepted;
use super::spec::{ConfigSpec, DigestSpec};
use crate::yaml::{Segment, YamlPath};

/// The document with its defaults, and `${NAME}` where a value came from the environment, as
/// `substituted` has them: any of them may be a secret.
pub(super) fn write(spec: &ConfigSpec, substituted: Vec<(YamlPath, String)>) -> Value {
    let digest = DigestSpec {
        accept: Some(accepted(&spec.digest)),
        ..spec.digest.clone()
    };
    let whole = ConfigSpec {
        digest,
        ..spec.clone()
    };
    // Its members are strings, numbers and lists of them, which JSON always has.
    let mut value = serde_json::to_value(whole).unwrap_or_default();
    for (path, written) in substituted {
        if let Some(place) = find(&mut value, &path) {
            *place = Value::String(written);
        }
    }
    value
}

/// Where an effective configuration, whose paths are relative to `base`, has its keys. A query is
/// left out: it may hold a secret.
pub(super) fn source_place(effective: &Value, base: &Path) -> String {
    let text = |pointer: &str| effective.pointer(pointer).and_then(Value::as_str);
    let list = |pointer: &str| effective.pointer(pointer).and_then(Value::as_array);
    if let Some(path) = text("/source/file/path") {
        return base.join(path).display().to_string();
    }
    if let Some(url) = text("/source/http/url") {
        return url.split('?').next().unwrap_or_default().to_owned();
    }
    if let Some(url) = text("/source/redis/url") {
        return url.to_owned();
    }
    let nodes = list("/source/redis/cluster").or_else(|| list("/source/redis/sentinel/nodes"));
    let nodes: Vec<_> = nodes
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    nodes.join(", ")
}

fn find<'v>(value: &'v mut Value, path: &YamlPath) -> Option<&'v mut Value> {
    path.0
        .iter()
        .try_fold(value, |value, segment| match segment {
            Segment::Field(name) => value.get_mut(name),
            Segment::Index(index) => value.get_mut(index),
        })
}
