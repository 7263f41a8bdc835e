//! Files that cannot be used: what is wrong is said with the member and the path, and nothing of
//! the content.

use std::error::Error;
use std::path::Path;

use super::*;
use crate::tls::tests::{Authority, good_files};

fn new(settings: HttpSettings) -> Result<HttpSource, HttpSourceError> {
    HttpSource::new(settings, Arc::new(SystemClock::new()))
}

/// Settings with a token and all files of TLS, which are good.
fn complete(directory: &Path) -> HttpSettings {
    std::fs::write(directory.join("token"), CANARY).unwrap();
    HttpSettings {
        bearer_token_file: Some(directory.join("token").into()),
        tls: good_files(directory),
        ..settings("https://localhost")
    }
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_member() {
    let directory = tempfile::tempdir().unwrap();
    new(complete(directory.path())).unwrap();
    let stranger = Authority::new().issue("stranger");
    let two_words = format!("{CANARY} {CANARY}");
    let two_lines = format!("{CANARY}\n\n");
    for (name, content, said) in [
        (
            "token",
            None,
            "source.http.bearer_token_file: {} cannot be read",
        ),
        (
            "token",
            Some(""),
            "source.http.bearer_token_file: {} does not hold a bearer token",
        ),
        (
            "token",
            Some("\n"),
            "source.http.bearer_token_file: {} does not hold",
        ),
        (
            "token",
            Some(&two_words),
            "source.http.bearer_token_file: {} does not hold",
        ),
        (
            "token",
            Some(&two_lines),
            "source.http.bearer_token_file: {} does not hold",
        ),
        (
            "token",
            Some("ä"),
            "source.http.bearer_token_file: {} does not hold",
        ),
        (
            "cert",
            Some(&stranger.cert),
            "source.http.tls.key_file: the key of",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let settings = complete(directory.path());
        let path = directory.path().join(name);
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = new(settings).unwrap_err();
        let want = said.replace("{}", &path.display().to_string());
        assert!(
            error.to_string().starts_with(&want),
            "{name} {content:?}: {error}"
        );
        assert_eq!(
            error.source().is_some(),
            content.is_none() || name == "cert"
        );
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
    }
}

#[test]
fn one_newline_behind_a_token_is_not_part_of_it() {
    let directory = tempfile::tempdir().unwrap();
    for content in ["t.o-k_e~n+/==", "t.o-k_e~n+/==\n", "t.o-k_e~n+/==\r\n"] {
        let settings = complete(directory.path());
        std::fs::write(directory.path().join("token"), content).unwrap();
        let source = new(settings).unwrap();
        let token = source.token.load();
        assert_eq!((**token).as_ref().unwrap(), "Bearer t.o-k_e~n+/==");
    }
}
