//! A real Redis or Valkey: a separate process on a reserved port, with a directory and without
//! persistence. Tests write what operators write: the record of a key and the index of its digest.

use std::path::{Path, PathBuf};
use std::process::Command;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisResult, cmd};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::keyfile::digest;
use super::port::Port;
use super::process::Process;
use super::wait;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Redis,
    Valkey,
}

pub const KINDS: [Kind; 2] = [Kind::Redis, Kind::Valkey];

/// keyward's default prefix.
pub const PREFIX: &str = "keyward:";

impl Kind {
    /// The server program: Debian's `redis-server`; for Valkey the one in `KEYWARD_TEST_VALKEY`,
    /// else the one in `target/valkey`.
    pub fn program(self) -> PathBuf {
        if self == Self::Redis {
            return "redis-server".into();
        }
        let named = std::env::var_os("KEYWARD_TEST_VALKEY").map(PathBuf::from);
        named.unwrap_or_else(|| {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let done = Command::new(root.join("tests/valkey-install")).output();
            let done = done.unwrap();
            assert!(done.status.success(), "no Valkey: {done:?}");
            String::from_utf8(done.stdout).unwrap().trim().into()
        })
    }
}

pub struct Server {
    pub kind: Kind,
    pub dir: TempDir,
    port: Port,
    arguments: Vec<String>,
    password: Option<String>,
    process: Option<Process>,
}

impl Server {
    pub async fn start(kind: Kind) -> Self {
        Self::start_with(kind, &[]).await
    }

    /// With additional arguments for the server; `{dir}` in them is its directory.
    pub async fn start_with(kind: Kind, arguments: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let here = dir.path().to_str().unwrap();
        let mut server = Self {
            kind,
            port: Port::reserve(),
            arguments: arguments.iter().map(|a| a.replace("{dir}", here)).collect(),
            password: None,
            process: None,
            dir,
        };
        server.restart().await;
        server
    }

    /// Restarts on the same port, empty.
    pub async fn restart(&mut self) {
        self.process = None;
        let port = self.port.number().to_string();
        let mut command = Command::new(self.kind.program());
        command
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--daemonize", "no", "--dir"])
            .arg(self.dir.path())
            .args(&self.arguments);
        let mut process = Process::start(&mut command);
        wait::until("the server answers", async || {
            assert!(process.exited().is_none(), "{}", process.output());
            self.ask::<String>(&cmd("PING")).await.is_ok()
        })
        .await;
        self.process = Some(process);
    }

    /// Kills it, like a lost machine.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        process.signal("KILL");
        process.end().await;
    }

    /// Suspends it (`STOP`) or resumes it (`CONT`): its connections stay open but silent.
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("the server runs").signal(name);
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.port.address()
    }

    pub fn url(&self) -> String {
        url(self.address())
    }

    /// From now on it requires this password.
    pub async fn protect(&mut self, password: &str) {
        let mut change = cmd("CONFIG");
        change.arg("SET").arg("requirepass").arg(password);
        self.execute(&change).await;
        self.password = Some(password.to_owned());
    }

    /// # Errors
    /// The error of the server or the connection.
    pub async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        if let Some(password) = &self.password {
            let mut auth = cmd("AUTH");
            auth.arg(password);
            auth.exec_async(&mut connection).await?;
        }
        Ok(connection)
    }

    /// # Errors
    /// The error of the server or the connection.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.connection().await?).await
    }

    /// Runs a command that must succeed.
    pub async fn execute(&self, command: &Cmd) {
        let done = self.ask::<redis::Value>(command).await;
        done.unwrap_or_else(|error| panic!("{:?} refused: {error}", self.kind));
    }

    /// Writes a string.
    pub async fn set(&self, name: &str, value: &str) {
        self.execute(cmd("SET").arg(name).arg(value)).await;
    }

    /// A string; `None` if there is none.
    pub async fn get(&self, name: &str) -> Option<String> {
        self.ask(cmd("GET").arg(name)).await.unwrap()
    }

    /// Writes the record of a key with one secret and the index of its digest; `rest` is additional
    /// members.
    pub async fn put(&self, id: &str, secret: &str, rest: Value) {
        self.put_text(id, secret, &record(id, secret, rest).to_string())
            .await;
    }

    /// The same with any text as the record.
    pub async fn put_text(&self, id: &str, secret: &str, record: &str) {
        let mut both = cmd("MSET");
        both.arg(format!("{PREFIX}key:{id}")).arg(record);
        both.arg(index(secret)).arg(id);
        self.execute(&both).await;
    }

    /// Revokes a key with one write of its record, as any program may.
    pub async fn revoke(&self, id: &str, secret: &str) {
        let revoked = record(id, secret, json!({"revoked_at": "2020-01-01T00:00:00Z"}));
        self.set(&format!("{PREFIX}key:{id}"), &revoked.to_string())
            .await;
    }

    /// The record of a key.
    pub async fn record(&self, id: &str) -> Value {
        let text = self.get(&format!("{PREFIX}key:{id}")).await;
        serde_json::from_str(&text.expect("the record is there")).unwrap()
    }

    /// Its whole contents: every key with its string.
    pub async fn everything(&self) -> Vec<(String, String)> {
        let names: Vec<String> = self.ask(cmd("KEYS").arg("*")).await.unwrap();
        let mut all = Vec::new();
        for name in names {
            let value = self.get(&name).await.unwrap_or_default();
            all.push((name, value));
        }
        all
    }

    /// The ids of the push connections.
    pub async fn pushing(&self) -> Vec<String> {
        let list: String = self.ask(cmd("CLIENT").arg("LIST")).await.unwrap();
        let field = |line: &str, name: &str| {
            let found = line.split(' ').find_map(|part| part.strip_prefix(name));
            found.unwrap_or_default().to_owned()
        };
        list.lines()
            .filter(|line| field(line, "flags=").contains('t'))
            .map(|line| field(line, "id="))
            .collect()
    }

    /// Cuts only the push connections; returns their ids.
    pub async fn cut_pushing(&self) -> Vec<String> {
        let pushing = self.pushing().await;
        for id in &pushing {
            self.execute(cmd("CLIENT").arg("KILL").arg("ID").arg(id))
                .await;
        }
        pushing
    }
}

pub fn url(address: std::net::SocketAddr) -> String {
    format!("redis://{address}/0")
}

/// A key's record with one secret; `rest` is additional members.
pub fn record(id: &str, secret: &str, rest: Value) -> Value {
    let mut record = json!({"id": id, "secrets": [{"digest": digest(secret)}]});
    let Value::Object(rest) = rest else {
        panic!("further members are an object");
    };
    record.as_object_mut().unwrap().extend(rest);
    record
}

/// The name of the string with the id of the key with this secret.
pub fn index(secret: &str) -> String {
    format!("{PREFIX}digest:{}", digest(secret))
}
