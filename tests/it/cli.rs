//! The command line as operators and scripts see it: exit codes, stdout and stderr, and no secret
//! in unexpected places. Nothing here starts a server.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

mod agreement;
mod checking;
mod errors;
mod explain;
mod health;
mod keys;
mod output;
mod presenting;
mod schema;

/// A directory in which commands run.
pub struct Workdir(TempDir);

/// The exit code and output of a command.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Workdir {
    pub fn empty() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A directory with `keyward.yaml` and `keys.yaml`.
    pub fn new(config: &str, keys: &str) -> Self {
        let workdir = Self::empty();
        workdir.write("keyward.yaml", config);
        workdir.write("keys.yaml", keys);
        workdir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `keyward` with these arguments, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env_remove("KEYWARD_CONFIG")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Runs with `input` on standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Run {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap().into()
    }

    /// Explains a GET of `/` with this secret.
    pub fn explain_get(&self, secret: &str, more: &[&str]) -> Run {
        let get = "explain --method GET --path / --key-file -";
        let arguments: Vec<_> = get.split(' ').chain(more.iter().copied()).collect();
        self.run_with(&arguments, secret)
    }
}

impl Run {
    pub fn of(command: &mut Command) -> Self {
        command.output().unwrap().into()
    }

    /// The stdout of a command that succeeded with an empty stderr.
    pub fn data(self) -> String {
        assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// The stderr of a command that failed with this code and an empty stdout.
    pub fn complaint(self, code: i32) -> String {
        assert_eq!((self.code, &*self.stdout), (Some(code), ""), "{self:?}");
        self.stderr
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl From<std::process::Output> for Run {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
