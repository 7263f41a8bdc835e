//! A pod without a cluster: each container gets a directory in place of its root, with every volume
//! where its manifest mounts it, laid out as the kubelet does. It can then run on this machine,
//! with the paths in its files and arguments replaced. Shared volumes are shared here too.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_yaml::Value;
use tempfile::TempDir;

use super::kubernetes::{Manifests, items, text_of};

/// Files of a `ConfigMap` or a Secret, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

pub struct Pod {
    pub dir: TempDir,
    spec: Value,
}

impl Pod {
    /// The pod of a workload; `given` has the Secrets that are not among the manifests.
    pub fn lay_out(manifests: &Manifests, workload: &Value, given: &BTreeMap<&str, Files>) -> Self {
        let pod = Self {
            dir: TempDir::new().unwrap(),
            spec: workload["spec"]["template"]["spec"].clone(),
        };
        for volume in items(&pod.spec["volumes"]) {
            let here = pod.volume(text_of(&volume["name"]));
            fs::create_dir_all(&here).unwrap();
            if volume["emptyDir"].is_mapping() {
                continue;
            }
            let (config, secret) = (
                &volume["configMap"]["name"],
                &volume["secret"]["secretName"],
            );
            let mut files = if config.is_string() {
                plain(&manifests.one("ConfigMap", text_of(config))["data"])
            } else if let Some(files) = given.get(text_of(secret)) {
                files.clone()
            } else {
                decoded(&manifests.one("Secret", text_of(secret))["data"])
            };
            if let Some(wanted) = volume["secret"]["items"].as_sequence() {
                files.retain(|name, _| wanted.iter().any(|item| item["key"] == name.as_str()));
            }
            put(&here, &files);
        }
        pod
    }

    /// The directory of a volume.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.dir.path().join("volumes").join(name)
    }

    /// A container by its name, an init container or not.
    pub fn container(&self, name: &str) -> Container<'_> {
        let mut all = containers(&self.spec);
        all.retain(|(container, _)| container["name"] == name);
        assert_eq!(all.len(), 1, "container {name}");
        let root = self.dir.path().join(name);
        if !root.exists() {
            let mut mounts: Vec<_> = items(&all[0].0["volumeMounts"]).iter().collect();
            // Outer mounts first, as container runtimes do.
            mounts.sort_by_key(|mount| text_of(&mount["mountPath"]));
            for mount in mounts {
                self.mount(&root, mount);
            }
        }
        Container {
            root,
            manifest: all[0].0,
        }
    }

    /// A link in place of a mount. A mount below another is a link in the other's directory, where
    /// the kubelet creates a directory.
    fn mount(&self, root: &Path, mount: &Value) {
        let at = root.join(text_of(&mount["mountPath"]).trim_start_matches('/'));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(self.volume(text_of(&mount["name"])), at).unwrap();
    }
}

/// Every container of a pod, and whether it is an init container.
pub fn containers(spec: &Value) -> Vec<(&Value, bool)> {
    let init = items(&spec["initContainers"]).iter().map(|c| (c, true));
    init.chain(items(&spec["containers"]).iter().map(|c| (c, false)))
        .collect()
}

pub struct Container<'a> {
    root: PathBuf,
    pub manifest: &'a Value,
}

impl Container<'_> {
    /// The path on this machine for a path in the container.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Replaces the paths of the container's mounts in a text by those on this machine.
    pub fn relocated(&self, text: &str) -> String {
        let mounts = items(&self.manifest["volumeMounts"]).iter();
        let paths: Vec<_> = mounts.map(|mount| text_of(&mount["mountPath"])).collect();
        let mut text = text.to_owned();
        for path in &paths {
            // A mount below another mount moves with it.
            let below = |other: &&str| path.starts_with(&format!("{other}/"));
            if !paths.iter().any(below) {
                text = text.replace(path, self.path(path).to_str().unwrap());
            }
        }
        text
    }

    pub fn arguments(&self) -> Vec<String> {
        let arguments = items(&self.manifest["args"]).iter();
        arguments.map(|a| self.relocated(text_of(a))).collect()
    }

    /// Changes a file from a `ConfigMap`: its paths, and then `change`.
    pub fn edit(&self, path: &str, change: impl FnOnce(String) -> String) {
        let file = self.path(path);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, change(self.relocated(&text))).unwrap();
    }
}

/// Puts files into a volume as the kubelet does: a directory with a new name, and one link that is
/// changed atomically.
pub fn put(volume: &Path, files: &Files) {
    let (data, next) = (volume.join("..data"), volume.join("..data_tmp"));
    let old = fs::read_link(&data).ok();
    let name = if old.as_deref() == Some(Path::new("..one")) {
        "..two"
    } else {
        "..one"
    };
    let new = volume.join(name);
    fs::create_dir(&new).unwrap();
    for (file, bytes) in files {
        fs::write(new.join(file), bytes).unwrap();
    }
    symlink(name, &next).unwrap();
    fs::rename(next, data).unwrap();
    for file in files.keys().filter(|file| !volume.join(file).is_symlink()) {
        symlink(format!("..data/{file}"), volume.join(file)).unwrap();
    }
    if let Some(old) = old {
        fs::remove_dir_all(volume.join(old)).unwrap();
    }
}

fn plain(data: &Value) -> Files {
    let data = data.as_mapping().expect("there is data").iter();
    data.map(|(name, value)| (text_of(name).to_owned(), text_of(value).into()))
        .collect()
}

/// The files of a Secret's `data`.
pub fn decoded(data: &Value) -> Files {
    let mut files = plain(data);
    for bytes in files.values_mut() {
        let mut decoder = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        decoder.stdin.take().unwrap().write_all(bytes).unwrap();
        let done = decoder.wait_with_output().unwrap();
        assert!(done.status.success(), "not base64: {bytes:?}");
        *bytes = done.stdout;
    }
    files
}
