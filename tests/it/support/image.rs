//! The image as operators get it: buildah makes it from the files that `deploy/image/rootfs` laid
//! out with the shipped Dockerfile, in a separate store, and runs it in a chroot. This needs
//! neither a daemon nor a registry, and no root if users may have namespaces of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::keyward::{Home, Keyward};
use super::process::Process;

/// `KEYWARD_REVISION` of the tests' image: not a real commit, so that a new commit alone rebuilds
/// nothing.
pub const REVISION: &str = "0123456789ab";

/// The user in the image.
pub const USER: &str = "65532:65532";

const TAG: &str = "keyward-test";

pub struct Image {
    store: TempDir,
    pub id: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    /// As `tar` prints it.
    pub mode: String,
    /// User and group, by number.
    pub owner: String,
}

/// keyward in a chroot, below a process that starts it and would leave it behind when killed.
pub struct ContainerProcess {
    pub keyward: Keyward,
}

impl Image {
    /// In OCI format. `None`, with a note on stderr, if no image can be built here.
    pub fn build() -> Option<Self> {
        Self::build_as("oci")
    }

    /// In this format; only Docker's can contain a health check.
    pub fn build_as(format: &str) -> Option<Self> {
        if !may_use_namespaces() {
            println!(
                "skipped: no image can be built here: buildah needs root, or user namespaces, the package uidmap and \
                 a line for this user in /etc/subuid and /etc/subgid"
            );
            return None;
        }
        let store = TempDir::new().unwrap();
        let id = store.path().join("id");
        let mut image = Self {
            store,
            id: String::new(),
        };
        let mut build = image.buildah(&["bud", "--isolation", "chroot", "--timestamp", "0"]);
        build
            .args(["--format", format, "--tag", TAG, "--build-arg"])
            .arg(format!("KEYWARD_REVISION={REVISION}"))
            .arg(format!("--build-context=build={}", laid_out().display()))
            .arg(format!("--iidfile={}", id.display()))
            .args(["--file", "deploy/image/Dockerfile", "."])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        done(&mut build);
        image.id = std::fs::read_to_string(id).unwrap();
        Some(image)
    }

    fn buildah(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        command
            .args(["--storage-driver", "vfs", "--root"])
            .arg(self.store.path().join("root"))
            .arg("--runroot")
            .arg(self.store.path().join("run"))
            .args(arguments);
        command
    }

    /// The output of `buildah inspect`.
    pub fn inspect(&self) -> Value {
        let output = done(&mut self.buildah(&["inspect", "--type", "image", TAG]));
        serde_json::from_str(&output).unwrap()
    }

    /// Entrypoint and command: what a container runs by default.
    pub fn runs(&self) -> Vec<String> {
        let config = &self.inspect()["OCIv1"]["config"];
        let words = |name: &str| config[name].as_array().unwrap().clone();
        let words = words("Entrypoint").into_iter().chain(words("Cmd"));
        words
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    }

    /// The layers, as tar archives.
    pub fn layers(&self) -> Vec<PathBuf> {
        let out = self.store.path().join("layers");
        let to = format!("dir:{}", out.display());
        done(&mut self.buildah(&["push", "--quiet", "--disable-compression", TAG, &to]));
        let manifest = std::fs::read_to_string(out.join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers
            .map(|layer| out.join(&layer["digest"].as_str().unwrap()["sha256:".len()..]))
            .collect()
    }

    /// Everything in the image.
    pub fn entries(&self) -> Vec<Entry> {
        let list = |layer: PathBuf| {
            let mut tar = Command::new("tar");
            done(
                tar.args(["--list", "--verbose", "--numeric-owner", "--file"])
                    .arg(layer),
            )
        };
        let lists: String = self.layers().into_iter().map(list).collect();
        let entry = |line: &str| {
            let mut fields = line.split_whitespace();
            Some(Entry {
                mode: fields.next()?.to_owned(),
                owner: fields.next()?.to_owned(),
                path: fields.next_back()?.to_owned(),
            })
        };
        lists.lines().filter_map(entry).collect()
    }

    /// Creates a container and returns its name; the options are those of `buildah from`.
    pub fn container(&self, options: &[&str]) -> String {
        let mut from = self.buildah(&["from"]);
        done(from.args(options).arg(TAG)).trim().to_owned()
    }

    /// The image's default command if `words` is empty, else its entrypoint with them, without
    /// capabilities and with `home` where keyward looks for its configuration.
    pub fn command(&self, container: &str, home: &Home, words: &[&str]) -> Command {
        self.command_with(&[], container, home, words)
    }

    /// The same with options of `buildah run`.
    pub fn command_with(
        &self,
        options: &[&str],
        container: &str,
        home: &Home,
        words: &[&str],
    ) -> Command {
        let runs = self.runs();
        let home = format!("{}:/etc/keyward:ro", home.dir.path().display());
        let mut run = self.buildah(&["run", "--isolation", "chroot", "--cap-drop", "all"]);
        run.args(["--volume", &home]).args(options);
        run.args([container, "--"]);
        if words.is_empty() {
            run.args(&runs);
        } else {
            run.arg(&runs[0]).args(words);
        }
        run
    }

    /// The same in a new container, to its end.
    pub fn run(&self, home: &Home, words: &[&str]) -> Output {
        let container = self.container(&[]);
        self.command(&container, home, words).output().unwrap()
    }

    /// `serve` on a read-only root, as with `readOnlyRootFilesystem`: buildah's containers have
    /// none.
    pub fn read_only(&self, home: &Home) -> Command {
        let root = self.store.path().join("read-only");
        // Creates the mount point, as every runtime does.
        std::fs::create_dir_all(root.join("etc/keyward")).unwrap();
        for layer in self.layers() {
            let mut tar = Command::new("tar");
            done(
                tar.arg("--extract")
                    .arg("--directory")
                    .arg(&root)
                    .arg("--file")
                    .arg(layer),
            );
        }
        let script = r#"
            mount --bind "$1" "$1"
            mount --bind "$2" "$1/etc/keyward"
            mount -o remount,bind,ro "$1"
            if touch "$1/written" 2>/dev/null; then echo "the root can be written to" >&2; exit 99; fi
            root=$1 user=$3
            shift 3
            exec chroot --userspec="$user" "$root" "$@"
        "#;
        let mut command = if is_root() {
            let mut command = Command::new("unshare");
            command.arg("--mount");
            command
        } else {
            self.buildah(&["unshare", "--"])
        };
        command.args(["sh", "-ec", script, "sh"]).arg(root);
        command.arg(home.dir.path()).arg(USER).args(self.runs());
        command
    }
}

impl ContainerProcess {
    pub async fn start(home: Home, command: &mut Command) -> Self {
        let process = Process::start(command);
        Self {
            keyward: home.watch(process).await,
        }
    }

    /// The id of keyward's process: the last in the chain of started processes.
    pub fn pid(&self) -> u32 {
        *descendants(self.keyward.process.id()).last().unwrap()
    }

    /// The user that it sees for itself: without root, buildah maps its users to others outside.
    pub fn user(&self) -> u32 {
        let numbers = |text: &str| -> Vec<u32> {
            let words = text.split_whitespace();
            words.map(|word| word.parse().unwrap()).collect()
        };
        let outside = numbers(&self.status("Uid"))[0];
        let map = format!("/proc/{}/uid_map", self.pid());
        let map = std::fs::read_to_string(map).unwrap();
        // Each line: the first inside, the first outside, how many.
        let inside = map.lines().find_map(|line| match numbers(line)[..] {
            [inside, first, count] if (first..first.saturating_add(count)).contains(&outside) => {
                Some(outside - first + inside)
            }
            _ => None,
        });
        inside.unwrap()
    }

    /// A line of its `/proc/PID/status`.
    pub fn status(&self, name: &str) -> String {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim_start_matches(':').trim().to_owned()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // buildah creates read-only roots, which only root can remove.
        let mut change = Command::new("chmod");
        let _ = change
            .args(["--recursive", "u+w"])
            .arg(self.store.path())
            .status();
    }
}

impl Drop for ContainerProcess {
    fn drop(&mut self) {
        // Killing buildah leaves the processes that it started.
        for process in descendants(self.keyward.process.id()) {
            signal("KILL", process);
        }
    }
}

/// Sends a signal by name.
pub fn signal(name: &str, process: u32) {
    let kill = format!("kill -{name} {process} 2>/dev/null || true");
    done(Command::new("sh").args(["-c", &kill]));
}

/// A process, its child, its child's child, and so on.
fn descendants(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut last = Some(process);
    while let Some(process) = last {
        let threads = std::fs::read_dir(format!("/proc/{process}/task"));
        let threads = threads.into_iter().flatten().flatten();
        let children = threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        last = children
            .collect::<String>()
            .split_whitespace()
            .find_map(|child| child.parse().ok());
        found.extend(last);
    }
    found
}

/// The directory where `deploy/image/rootfs` laid out its files, like the stage `build` of the
/// Dockerfile.
pub fn laid_out() -> PathBuf {
    let named = std::env::var_os("KEYWARD_TEST_IMAGE").map(PathBuf::from);
    let stage = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/image"));
    assert!(
        stage.join("rootfs/usr/bin/keyward").exists(),
        "no files for an image in {}: KEYWARD_REVISION={REVISION} deploy/image/rootfs target/image/rootfs",
        stage.display()
    );
    stage
}

fn is_root() -> bool {
    done(Command::new("id").arg("--user")).trim() == "0"
}

/// Whether buildah can map a container's users here.
fn may_use_namespaces() -> bool {
    let version = Command::new("buildah").arg("--version").output();
    assert!(
        version.is_ok(),
        "no buildah; on Debian: apt install buildah uidmap"
    );
    let mut unshare = Command::new("buildah");
    unshare.args(["unshare", "chroot", "--userspec", USER, "/", "true"]);
    is_root() || unshare.output().unwrap().status.success()
}

/// The stdout of a command that must succeed.
fn done(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
