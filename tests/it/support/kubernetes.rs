//! What a cluster would be given: kustomizations and the chart, rendered by the real kubectl and
//! helm and parsed, and kubernetes-validate, which checks them. `KEYWARD_TEST_KUBERNETES` names the
//! directory of the three programs, else `tests/kubernetes-install` provides it. There is no
//! cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde::Deserialize as _;
use serde_yaml::Value;
use tempfile::TempDir;

/// The oldest and the newest Kubernetes version that what we ship is checked against.
pub const VERSIONS: [&str; 2] = ["1.33", "1.37"];

/// A file or directory of the project.
pub fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// `kubectl`, `helm` or `kubernetes-validate`.
pub fn tool(name: &str) -> Command {
    static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
        if let Some(named) = std::env::var_os("KEYWARD_TEST_KUBERNETES") {
            return named.into();
        }
        let done = Command::new(shipped("tests/kubernetes-install"))
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "no kubectl, helm and kubernetes-validate; run tests/kubernetes-install: {done:?}"
        );
        String::from_utf8(done.stdout).unwrap().trim().into()
    });
    Command::new(DIRECTORY.join(name))
}

/// Runs it to its end; its stdout.
///
/// # Errors
/// Its stderr and stdout, if it failed.
pub fn run(command: &mut Command) -> Result<String, String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let (out, err) = (text(stdout), text(stderr));
    if status.success() {
        Ok(out)
    } else {
        Err(format!("{err}{out}"))
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Rendered documents, and their text.
pub struct Manifests {
    pub text: String,
    pub documents: Vec<Value>,
}

impl Manifests {
    pub fn new(text: String) -> Self {
        let documents = serde_yaml::Deserializer::from_str(&text)
            .map(|document| Value::deserialize(document).unwrap())
            .filter(|document| !document.is_null())
            .collect();
        Self { text, documents }
    }

    /// `kubectl kustomize` of a directory.
    pub fn of_kustomization(directory: &Path) -> Self {
        let rendered = run(tool("kubectl").arg("kustomize").arg(directory));
        Self::new(rendered.unwrap_or_else(|error| panic!("{}: {error}", directory.display())))
    }

    /// The only document of a kind whose name begins like this: generated names end with a hash.
    pub fn one(&self, kind: &str, name: &str) -> &Value {
        let mut found = self.all(kind);
        found.retain(|document| text_of(&document["metadata"]["name"]).starts_with(name));
        assert_eq!(found.len(), 1, "{kind} {name} in {}", self.text);
        found[0]
    }

    pub fn all(&self, kind: &str) -> Vec<&Value> {
        let documents = self.documents.iter();
        documents
            .filter(|document| document["kind"] == kind)
            .collect()
    }

    /// The workloads with their names: every document that has a pod template.
    pub fn workloads(&self) -> Vec<(&str, &Value)> {
        let with_pods = self
            .documents
            .iter()
            .filter(|d| d["spec"]["template"].is_mapping());
        with_pods
            .map(|d| (text_of(&d["metadata"]["name"]), d))
            .collect()
    }
}

/// A string of a document; empty if there is none.
pub fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The items of a list; none if there is none.
pub fn items(value: &Value) -> &[Value] {
    value.as_sequence().map_or(&[], Vec::as_slice)
}

/// Checks documents, each with a name for messages, against the schemas of a Kubernetes version;
/// strictly, so that an unknown field is an error. Skips kinds that are not part of Kubernetes.
///
/// # Errors
/// The problems, with the names.
pub fn validate(version: &str, named: &[(String, &Manifests)]) -> Result<String, String> {
    let dir = TempDir::new().unwrap();
    let mut command = tool("kubernetes-validate");
    command.args(["--strict", "-k", version]);
    for (name, manifests) in named {
        let own = manifests.documents.iter();
        let own = own.filter(|document| document["kind"] != "PodMonitor");
        let texts: Vec<_> = own.map(|d| serde_yaml::to_string(d).unwrap()).collect();
        let file = dir.path().join(format!("{name}.yaml"));
        fs::write(&file, texts.join("---\n")).unwrap();
        command.arg(file);
    }
    run(&mut command)
}

/// `keyward` with these arguments.
///
/// # Errors
/// Its output, if it failed.
pub fn keyward(arguments: &[&str]) -> Result<String, String> {
    run(Command::new(env!("CARGO_BIN_EXE_keyward")).args(arguments))
}
