//! `${NAME}` and `${NAME:-default}` in the strings of a configuration.
//!
//! Values come from a function, so that tests give their own. A value is not substituted again and
//! adds no structure: it stays within its string. A `$` without `{` is itself.

use super::problem::is_showable;
use crate::secret_format::may_hold_secret;

/// The environment: the value of a name, if set.
pub type Environment<'e> = dyn Fn(&str) -> Option<String> + 'e;

/// A reference that cannot be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidReference {
    #[error("environment variable `{0}` is not set")]
    Unset(String),
    #[error("an environment variable is not set")]
    UnsetAndUnnamed,
    #[error("`${{` does not begin a reference to the environment")]
    Malformed,
}

impl InvalidReference {
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Unset(_) | Self::UnsetAndUnnamed => "set it, or write ${NAME:-default}",
            Self::Malformed => "write ${NAME} or ${NAME:-default}",
        }
    }
}

/// The text with every reference replaced; `None` when it holds none.
///
/// As in a shell, a default stands in for a name that is unset or empty.
pub(super) fn substitute(
    text: &str,
    env: &Environment<'_>,
) -> Result<Option<String>, InvalidReference> {
    let mut rest = text;
    let mut replaced: Option<String> = None;
    while let Some((before, after)) = rest.split_once("${") {
        let (reference, after) = after.split_once('}').ok_or(InvalidReference::Malformed)?;
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        if !is_name(name) {
            return Err(InvalidReference::Malformed);
        }
        let value = match (env(name), default) {
            (Some(value), None) => value,
            (Some(value), Some(_)) if !value.is_empty() => value,
            (_, Some(default)) => default.to_owned(),
            (None, None) => return Err(unset(name)),
        };
        let text = replaced.get_or_insert_default();
        text.push_str(before);
        text.push_str(&value);
        rest = after;
    }
    if let Some(text) = &mut replaced {
        text.push_str(rest);
    }
    Ok(replaced)
}

/// Variables have names in upper case as a rule; any other may be a secret in the wrong place.
fn unset(name: &str) -> InvalidReference {
    let is_upper = !name.bytes().any(|byte| byte.is_ascii_lowercase());
    if is_showable(name) || (is_upper && !may_hold_secret(name)) {
        InvalidReference::Unset(name.to_owned())
    } else {
        InvalidReference::UnsetAndUnnamed
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|char: char| char.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_all_else_is_left_alone() {
        let env = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "NEST" => Some("${A}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let unset = |name: &str| Err(InvalidReference::Unset(name.to_owned()));
        for (text, want) in [
            ("plain $A $$ $", Ok(None)),
            ("${A}", Ok(Some("one"))),
            ("x${A}y${A}z", Ok(Some("xoneyonez"))),
            ("${B:-two}", Ok(Some("two"))),
            ("${A:-two}", Ok(Some("one"))),
            ("${EMPTY}", Ok(Some(""))),
            ("${EMPTY:-two}", Ok(Some("two"))),
            ("${B:-}", Ok(Some(""))),
            ("${B:-a:-b}", Ok(Some("a:-b"))),
            ("${NEST}", Ok(Some("${A}"))),
            ("$${A}", Ok(Some("$one"))),
            ("${B}", unset("B")),
            (
                "${A_NAME_THAT_IS_RATHER_LONG}",
                unset("A_NAME_THAT_IS_RATHER_LONG"),
            ),
            ("${kw_canary}", Err(InvalidReference::UnsetAndUnnamed)),
            (
                "${sk_live_canary_0123456789}",
                Err(InvalidReference::UnsetAndUnnamed),
            ),
            ("${A", Err(InvalidReference::Malformed)),
            ("${}", Err(InvalidReference::Malformed)),
            ("${A-b}", Err(InvalidReference::Malformed)),
            ("${1A}", Err(InvalidReference::Malformed)),
        ] {
            let want = want.map(|text: Option<&str>| text.map(str::to_owned));
            assert_eq!(substitute(text, &env), want, "{text}");
        }
    }
}
