//! A child process whose output is recorded, which is stopped by a signal and never outlives its
//! test.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::wait;

/// What a process wrote so far.
#[derive(Clone, Default)]
pub struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    fn fill_from(&self, mut pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let kept = Arc::clone(&self.0);
        std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(n) = pipe.read(&mut chunk)
                && n > 0
            {
                kept.lock().unwrap().extend_from_slice(&chunk[..n]);
            }
        })
    }
}

pub struct Process {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    pub stdout: Output,
    pub stderr: Output,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (stdout, stderr) = (Output::default(), Output::default());
        let readers = vec![
            stdout.fill_from(child.stdout.take().unwrap()),
            stderr.fill_from(child.stderr.take().unwrap()),
        ];
        Self {
            child,
            readers,
            stdout,
            stderr,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name (`TERM`, `HUP`, `INT`, `KILL`).
    pub fn signal(&self, name: &str) {
        // The shell's own kill: needs no unsafe code, and no package that a minimal image lacks.
        let done = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.id())])
            .status()
            .unwrap();
        assert!(done.success(), "kill -{name} failed");
    }

    /// Limits the number of files and connections that it can open from now on; open ones stay
    /// open.
    pub fn limit_open_files(&self, number: u32) {
        let (pid, limit) = (self.child.id(), format!("--nofile={number}:"));
        let done = Command::new("prlimit")
            .args(["--pid", &pid.to_string(), &limit])
            .status()
            .unwrap();
        assert!(done.success(), "prlimit {limit} failed");
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end of the process and of its output; its exit status.
    pub async fn end(&mut self) -> ExitStatus {
        let status = wait::until_some("the process has ended", async || self.exited()).await;
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    pub fn output(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
