//! The command line: what operators type, and what is printed for them.
//!
//! Each subcommand is a function from its arguments to an `Outcome`, which is an exit code, or to
//! an `Error`, which is printed on stderr, one line per problem. Only data goes to stdout, so that
//! it can be piped.

mod check_config;
mod command;
mod core_dumps;
mod explain;
mod health;
mod keys;
mod report;
mod schema;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser};

use self::command::{Arguments, Command, ConfigArgs};
use self::report::{note, report};
use crate::authz::key_map::KeyMap;
use crate::caught_panic::is_caught;
use crate::config::{Config, ConfigError};
use crate::keys::file::LoadError;
use crate::keys::source::SourceError;
use crate::manage::append::AppendError;
use crate::manage::redis_store::RedisKeyStoreError;
use crate::observe::log::LogFormat;
use crate::redis::RedisCredentialsError;
use crate::server::{self, ServeError};

/// Names the configuration if no argument does; empty is the same as unset.
const CONFIG_VARIABLE: &str = "KEYWARD_CONFIG";

/// The configurations that are looked for if none is named, in order.
const CONFIG_PATHS: [&str; 2] = ["./keyward.yaml", "/etc/keyward/keyward.yaml"];

/// The longest value that an error about arguments repeats: enough for an address, a command or a
/// shell, too short for a good secret.
const MAX_SHOWN_BYTES: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Done, or allowed: 0.
    Success,
    /// Denied: 4.
    Denied,
    /// A failure that is already reported: that exit code.
    Reported(u8),
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Usage(String),
    #[error(
        "no configuration file: neither -c nor {CONFIG_VARIABLE} names one, and there is neither {} nor {}",
        CONFIG_PATHS[0],
        CONFIG_PATHS[1]
    )]
    NoConfig,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Keys(#[from] LoadError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Printed as lines of a JSON log.
    #[error("{0}")]
    AsLog(Box<Error>),
    /// Printed one after the other.
    #[error("{} problems", .0.len())]
    Several(Vec<Error>),
    #[error(transparent)]
    SourceFiles(#[from] RedisCredentialsError),
    #[error("source.{kind}")]
    Source {
        kind: &'static str,
        source: SourceError,
    },
    #[error("keyward at {address} is not ready: {body}")]
    NotReady { address: SocketAddr, body: String },
    #[error(
        "the key `{id}` is in {place} now, but its secret could not be printed and is lost; {help}"
    )]
    SecretLost {
        id: String,
        place: String,
        help: &'static str,
        source: io::Error,
    },
    #[error(transparent)]
    RedisKeyStore(#[from] RedisKeyStoreError),
    #[error("{0}")]
    Failed(String),
    #[error("cannot {what}")]
    Io { what: String, source: io::Error },
}

impl Error {
    /// 1 for a failure, 2 for arguments, 3 for files that cannot be used.
    fn exit_code(&self) -> u8 {
        let bad_file = |is_bad| if is_bad { 3 } else { 1 };
        match self {
            // The record was made of the arguments.
            Self::Usage(_)
            | Self::Append(AppendError::Record(_))
            | Self::RedisKeyStore(RedisKeyStoreError::Record(_)) => 2,
            Self::NotReady { .. }
            | Self::SecretLost { .. }
            | Self::Source { .. }
            | Self::RedisKeyStore(_)
            | Self::Failed(_)
            | Self::Io { .. } => 1,
            Self::NoConfig | Self::Config(_) | Self::Keys(_) | Self::SourceFiles(_) => 3,
            Self::Several(errors) => errors.iter().map(Self::exit_code).max().unwrap_or(1),
            Self::AsLog(error) => error.exit_code(),
            Self::Append(error) => bad_file(error.is_bad_file()),
            Self::Serve(error) => bad_file(error.is_bad_configuration()),
        }
    }
}

/// Runs the command that the arguments name, and gives the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    core_dumps::switch_off();
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_caught(panic) {
            default_hook(panic);
        }
    }));
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        // Help and version are errors too for clap, which prints them to stdout with exit code 0.
        Err(mut error) => {
            set_colour(if error.use_stderr() {
                io::stderr().is_terminal()
            } else {
                io::stdout().is_terminal()
            });
            let _ = redact_secrets(&mut error).print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(arguments.command, &mut io::stdout()) {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::Denied) => ExitCode::from(4),
        Ok(Outcome::Reported(code)) => ExitCode::from(code),
        Err(error) => {
            set_colour(io::stderr().is_terminal());
            report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Switches colour off unless the output is a terminal; anstream handles `NO_COLOR`.
fn set_colour(is_terminal: bool) {
    if !is_terminal {
        anstream::ColorChoice::Never.write_global();
    }
}

/// Removes from an error about arguments what may be a secret that was given as an argument.
fn redact_secrets(error: &mut clap::Error) -> &clap::Error {
    for kind in [
        ContextKind::InvalidArg,
        ContextKind::InvalidSubcommand,
        ContextKind::InvalidValue,
    ] {
        let Some(ContextValue::String(text)) = error.get(kind) else {
            continue;
        };
        // The names of our own arguments begin with one of these.
        let is_name = kind == ContextKind::InvalidArg && text.starts_with(['-', '<']);
        let is_mistyped = kind != ContextKind::InvalidArg && text.len() <= MAX_SHOWN_BYTES;
        if text.contains(crate::secret_format::PREFIX) || !(is_name || is_mistyped) {
            let hidden = "(not shown: a secret is never an argument)".to_owned();
            error.insert(kind, ContextValue::String(hidden));
        }
    }
    error
}

fn dispatch(command: Command, out: &mut impl Write) -> Result<Outcome, Error> {
    match command {
        Command::Serve(config) => serve(&config),
        Command::CheckConfig(arguments) => check_config::run(&arguments, out),
        Command::Explain(arguments) => explain::run(&arguments, out),
        Command::Keys { command } => keys::run(&command, out),
        Command::Health(arguments) => health::run(&arguments),
        Command::Schema { file } => schema::run(file, out),
        Command::Completions { shell } => {
            // Into memory first: clap_complete panics if a pipe is closed early.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "keyward", &mut script);
            print(out, &script)?;
            Ok(Outcome::Success)
        }
    }
}

/// Serves until a signal stops the server. An error is printed in the format of the log.
fn serve(config: &ConfigArgs) -> Result<Outcome, Error> {
    let mut format = LogFormat::default();
    let ended =
        find_config(config).and_then(|file| Ok(server::run(&file, environment, &mut format)?));
    match ended {
        Ok(()) => Ok(Outcome::Success),
        Err(error) if format.is_json(io::stderr().is_terminal()) => {
            Err(Error::AsLog(Box::new(error)))
        }
        Err(error) => Err(error),
    }
}

/// The value of an environment variable; `None` if it is unset or not UTF-8.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The configuration file that an argument or the environment names.
fn named_config(arguments: &ConfigArgs) -> Option<PathBuf> {
    arguments.config.clone().or_else(|| {
        // Not by `environment`: a path need not be UTF-8.
        let name = std::env::var_os(CONFIG_VARIABLE).filter(|name| !name.is_empty());
        name.map(PathBuf::from)
    })
}

/// The configuration file that is named, or the first of the usual ones that exists.
fn find_config(arguments: &ConfigArgs) -> Result<PathBuf, Error> {
    let usual = || {
        let mut paths = CONFIG_PATHS.into_iter().map(PathBuf::from);
        // A path that may not be looked up counts as existing: reading it then says why it fails.
        paths.find(|path| path.try_exists().unwrap_or(true))
    };
    named_config(arguments)
        .or_else(usual)
        .ok_or(Error::NoConfig)
}

fn load_config(arguments: &ConfigArgs) -> Result<Config, Error> {
    Ok(Config::load(&find_config(arguments)?, &environment)?)
}

/// The keys of the configuration's file source; `None` if they are looked up at a remote source.
fn load_keys(config: &Config) -> Result<Option<KeyMap>, Error> {
    let path = config.source.path();
    Ok(path
        .map(|path| crate::keys::file::load(path, &config.policy))
        .transpose()?)
}

/// The runtime of a command that asks a remote source.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io {
            what: "start".to_owned(),
            source,
        })
}

/// Prints data. A reader that closes the pipe early, as in `keyward schema config | head`, is no
/// failure.
fn print(out: &mut impl Write, data: &[u8]) -> Result<(), Error> {
    match out.write_all(data).and_then(|()| out.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(Error::Io {
            what: "write to standard output".to_owned(),
            source,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}
