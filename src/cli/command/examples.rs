//! What `--help` shows last: lines to copy.
//!
//! Each is short enough not to be broken by a terminal of usual width, and a test holds that the
//! command line takes it.

pub(super) const KEYWARD: &str = "\
Examples:
  keyward keys new --file keys.yaml --id invoices-bot
  keyward check-config -c keyward.yaml
  keyward serve -c keyward.yaml";

pub(super) const SERVE: &str = "\
Examples:
  keyward serve -c keyward.yaml
  KEYWARD_CONFIG=/etc/keyward/keyward.yaml keyward serve";

pub(super) const CHECK_CONFIG: &str = "\
Examples:
  keyward check-config -c keyward.yaml
  keyward check-config -c keyward.yaml --offline --output json";

pub(super) const EXPLAIN: &str = "\
Examples:
  keyward explain --method GET --path /v1/invoices --key-file secret.txt
  keyward explain --method POST --path /admin --host a.example.com --key-file -
  keyward explain --method GET --path / --source-ip 192.0.2.7 --header 'accept: */*'";

pub(super) const HEALTH: &str = "\
Examples:
  keyward health
  keyward health --address 127.0.0.1:9192";

pub(super) const SCHEMA: &str = "\
Examples:
  keyward schema config > keyward.schema.json
  keyward schema keys > keys.schema.json

Editors with yaml-language-server read the first line of a file:
  # yaml-language-server: $schema=./keyward.schema.json";

pub(super) const COMPLETIONS: &str = "\
Examples:
  keyward completions bash > /etc/bash_completion.d/keyward";

pub(super) const KEYS: &str = "\
Examples:
  keyward keys new --file keys.yaml --id invoices-bot
  keyward keys list --redis redis://127.0.0.1:6379/0
  keyward keys revoke invoices-bot -c keyward.yaml";

pub(super) const KEYS_NEW: &str = "\
Examples:
  keyward keys new --file keys.yaml --id bot --client acme --scope invoices:read
  keyward keys new --id trial --plan gold --expires-in 90d --metadata org=42
  keyward keys new --redis redis://127.0.0.1:6379/0 --id bot --output json";

pub(super) const KEYS_LIST: &str = "\
Examples:
  keyward keys list -c keyward.yaml
  keyward keys list --state expired --client acme --output json";

pub(super) const KEYS_SHOW: &str = "\
Examples:
  keyward keys show invoices-bot -c keyward.yaml";

pub(super) const KEYS_ROTATE: &str = "\
Examples:
  keyward keys rotate invoices-bot -c keyward.yaml
  keyward keys rotate invoices-bot -c keyward.yaml --overlap 7d";

pub(super) const KEYS_REVOKE: &str = "\
Examples:
  keyward keys revoke invoices-bot -c keyward.yaml";

pub(super) const KEYS_ENABLE: &str = "\
Examples:
  keyward keys enable invoices-bot -c keyward.yaml";

pub(super) const KEYS_DISABLE: &str = "\
Examples:
  keyward keys disable invoices-bot -c keyward.yaml";

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::super::Arguments;

    /// The words of a line, as a shell splits it; what follows a redirection and what comes before
    /// the program are left out.
    fn words(line: &str) -> Vec<String> {
        let line = line.split(" > ").next().unwrap_or_default();
        let mut words = vec![String::new()];
        let mut quoted = false;
        for c in line.trim().chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                _ => words.last_mut().unwrap().push(c),
            }
        }
        words
            .into_iter()
            .skip_while(|word| word != "keyward")
            .collect()
    }

    fn check(command: &mut Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        let help = command.get_after_help().map(ToString::to_string);
        let examples = help.as_deref().unwrap_or_default();
        let examples = examples.split("Examples:\n").nth(1);
        let examples = examples.unwrap_or_else(|| panic!("{path} has no examples"));
        let lines = examples.lines().take_while(|line| !line.is_empty());
        for line in lines {
            let mut whole = Arguments::command();
            let parsed = whole.try_get_matches_from_mut(words(line));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            assert!(line.contains(path.trim()), "{line} is one of {path}");
            assert!(line.len() <= 84, "{line} is not broken by a terminal");
        }
        for inner in command.get_subcommands_mut() {
            check(inner, &path);
        }
    }

    #[test]
    fn every_command_shows_examples_that_the_command_line_takes() {
        check(&mut Arguments::command(), "");
    }
}
