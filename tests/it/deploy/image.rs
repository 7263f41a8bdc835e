//! The image: its metadata, its contents, and that keyward works in it as on a full system. The
//! Dockerfile's build stage lays out the files, and its last stage makes the image.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::json;

use crate::cli::Run;
use crate::support::certs::Authority;
use crate::support::check::{channel, check, with_key};
use crate::support::dns::Dns;
use crate::support::image::{self, ContainerProcess, Entry, Image, REVISION, USER};
use crate::support::key_service::KeyService;
use crate::support::keyfile::KeyFile;
use crate::support::keyward::Home;
use crate::support::port::Port;
use crate::support::redis::{KINDS, Server};

/// The promised maximum, of the unpacked files.
const MAX_BYTES: u64 = 15_000_000;

/// The name that the tests' DNS server resolves.
const SERVICE: &str = "keys.shop.svc.cluster.test";

/// Its name in a pod of another namespace, and the resolv.conf of such a pod.
const SHORT: &str = "keys.shop";
const SEARCH: &[&str] = &[
    "--dns-search",
    "svc.cluster.test",
    "--dns-option",
    "ndots:5",
];

/// A home that the image's user can read.
fn home(config: &str) -> Home {
    let home = Home::new(config, &KeyFile::new().key("k", "secret", &[]));
    home.open_to_all();
    home
}

/// `None`, with a note on stderr, if it cannot run here.
async fn dns() -> Option<Dns> {
    match Dns::start(SERVICE).await {
        Ok(dns) => Some(dns),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            println!(
                "skipped: no DNS server can run here, for port 53 is not this user's: \
                 sudo sysctl net.ipv4.ip_unprivileged_port_start=53"
            );
            None
        }
        Err(error) => panic!("no DNS server: {error}"),
    }
}

#[test]
fn the_image_has_its_metadata() {
    let Some(image) = Image::build_as("docker") else {
        return;
    };
    let inspected = image.inspect();
    let config = &inspected["OCIv1"]["config"];
    assert_eq!(config["User"], USER);
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/keyward"]));
    assert_eq!(config["Cmd"], json!(["serve"]));
    assert_eq!(
        config["ExposedPorts"],
        json!({"9191/tcp": {}, "9192/tcp": {}})
    );
    assert_eq!(
        inspected["Docker"]["config"]["Healthcheck"]["Test"],
        json!(["CMD", "/usr/bin/keyward", "health"])
    );
    let mut labels = config["Labels"].clone();
    labels.as_object_mut().unwrap().remove("io.buildah.version");
    let label = |name: &str| format!("org.opencontainers.image.{name}");
    assert_eq!(
        labels,
        json!({
            label("title"): env!("CARGO_PKG_NAME"),
            label("description"): env!("CARGO_PKG_DESCRIPTION"),
            label("version"): env!("CARGO_PKG_VERSION"),
            label("revision"): REVISION,
            label("source"): "https://github.com/keyward/keyward",
            label("licenses"): env!("CARGO_PKG_LICENSE"),
            label("base.name"): "scratch",
        })
    );
}

#[test]
fn the_image_contains_only_the_program_and_the_ca_certificates() {
    let Some(image) = Image::build() else { return };
    let entry = |mode: &str, path: &str| Entry {
        path: path.into(),
        mode: mode.into(),
        owner: "0/0".into(),
    };
    let mut entries = image.entries();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(
        entries,
        [
            entry("drwxr-xr-x", "etc/"),
            entry("drwxr-xr-x", "etc/ssl/"),
            entry("drwxr-xr-x", "etc/ssl/certs/"),
            entry("-rw-r--r--", "etc/ssl/certs/ca-certificates.crt"),
            entry("drwxr-xr-x", "usr/"),
            entry("drwxr-xr-x", "usr/bin/"),
            entry("-rwxr-xr-x", "usr/bin/keyward"),
        ]
    );
    let sizes = image.layers().into_iter();
    let size: u64 = sizes.map(|layer| fs::metadata(layer).unwrap().len()).sum();
    println!("the image has {size} bytes");
    assert!(size < MAX_BYTES, "the image has {size} bytes");
}

#[test]
fn the_same_files_make_the_same_image() {
    let Some(image) = Image::build() else { return };
    let again = Image::build().unwrap();
    assert_eq!(image.id, again.id);
}

#[test]
fn its_builder_uses_the_tested_compiler() {
    let dockerfile =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/image/Dockerfile"))
            .unwrap();
    let wanted = format!(
        "ARG RUST=docker.io/library/rust:{}.",
        env!("CARGO_PKG_RUST_VERSION")
    );
    assert!(
        dockerfile.lines().any(|line| line.starts_with(&wanted)),
        "no {wanted}"
    );
    assert!(
        dockerfile
            .lines()
            .any(|line| line == "RUN deploy/image/rootfs /rootfs")
    );
}

#[tokio::test]
async fn keyward_serves_in_the_image_without_rights() {
    let Some(image) = Image::build() else { return };
    let admin = Port::reserve();
    let home = home(&format!(
        "server: {{admin: {{address: \"{}\"}}}}",
        admin.address()
    ));

    let version = Run::from(image.run(&home, &["--version"])).data();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let checked = Run::from(image.run(&home, &["check-config"]));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let container = image.container(&[]);
    let health = |home: &Home| {
        Run::from(
            image
                .command(&container, home, &["health"])
                .output()
                .unwrap(),
        )
    };
    assert_eq!(health(&home).code, Some(1));

    let mut serve = image.command(&container, &home, &[]);
    let mut running = ContainerProcess::start(home, &mut serve).await;
    let asked = check(&channel(&running.keyward.grpc).await, with_key("secret")).await;
    assert!(asked.unwrap().allowed());
    assert_eq!(health(&running.keyward.home).code, Some(0));
    let built = running.keyward.fetch("/metrics").await.text();
    assert!(
        built.contains(&format!("revision=\"{REVISION}\"")),
        "{built}"
    );
    assert_eq!(running.user(), 65532);
    assert_eq!(running.status("CapEff"), "0000000000000000");
    image::signal("TERM", running.pid());
    assert_eq!(running.keyward.process.end().await.code(), Some(0));
}

#[tokio::test]
async fn keyward_serves_on_a_read_only_root() {
    let Some(image) = Image::build() else { return };
    let home = home("{}");
    let mut serve = image.read_only(&home);
    let running = ContainerProcess::start(home, &mut serve).await;
    let channel = channel(&running.keyward.grpc).await;
    assert!(check(&channel, with_key("secret")).await.unwrap().allowed());
    let keys = KeyFile::new().key("k", "other", &[]);
    running.keyward.reload(&keys).await;
    assert!(check(&channel, with_key("other")).await.unwrap().allowed());
    assert_eq!(running.keyward.fetch("/readyz").await.status, 200);
}

#[tokio::test]
async fn remote_sources_are_resolved_by_dns() {
    let Some(image) = Image::build() else { return };
    let Some(dns) = dns().await else { return };
    let address = dns.address.to_string();
    let redis = Server::start(KINDS[0]).await;
    redis.put("k", "secret", json!({})).await;
    let service = KeyService::start().await;
    service.put("k", "secret", json!({}));
    let (redis, http) = (redis.address().port(), service.address.port());
    let sources = [
        format!("{{redis: {{url: \"redis://{SHORT}:{redis}\", timeout: 5s}}}}"),
        format!("{{http: {{url: \"http://{SERVICE}:{http}/v1/{{digest}}\", timeout: 5s}}}}"),
    ];
    for source in sources {
        let before = dns.asked().len();
        let home = home(&format!("source: {source}"));
        let container = image.container(&[&["--dns", &address], SEARCH].concat());
        let mut serve = image.command(&container, &home, &[]);
        let running = ContainerProcess::start(home, &mut serve).await;
        let channel = channel(&running.keyward.grpc).await;
        let known = check(&channel, with_key("secret")).await.unwrap();
        assert_eq!(
            known.outcome(),
            "allowed",
            "{source}: {}",
            running.keyward.process.output()
        );
        let unknown = check(&channel, with_key("unknown")).await.unwrap();
        assert_eq!(unknown.outcome(), "unknown_key", "{source}");
        assert!(
            dns.asked()[before..].iter().any(|name| name == SERVICE),
            "{:?}",
            dns.asked()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_dns_name_is_a_failing_source() {
    let Some(image) = Image::build() else { return };
    let Some(dns) = dns().await else { return };
    let home = home("source: {http: {url: \"http://other.shop.test:1/{digest}\", timeout: 5s}}");
    let container = image.container(&["--dns", &dns.address.to_string()]);
    let checked = image.command(&container, &home, &["check-config"]).output();
    let complaint = Run::from(checked.unwrap()).complaint(1);
    assert!(complaint.contains("lookup"), "{complaint}");
    let asked = dns.asked();
    assert!(
        asked.iter().any(|name| name == "other.shop.test"),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn https_trusts_the_ca_certificates_of_the_image_or_the_configured_ones() {
    let Some(image) = Image::build() else { return };
    let authority = Authority::new();
    let service = KeyService::start_with_tls(&authority).await;
    let port = service.address.port();
    let home = home(&format!(
        "source: {{http: {{url: \"https://localhost:{port}/{{digest}}\", timeout: 5s,
         tls: {{cert_file: tls.crt, key_file: tls.key}}}}}}"
    ));
    authority.issue("sidecar").put(home.dir.path());
    fs::write(home.path("ca.pem"), authority.pem()).unwrap();
    let container = image.container(&[]);
    let check = |options: &[&str]| {
        let checked = image.command_with(options, &container, &home, &["check-config"]);
        Run::from({ checked }.output().unwrap())
    };
    // The image's own CA certificates do not include the tests' CA; a missing bundle would be
    // another complaint.
    let complaint = check(&[]).complaint(1);
    assert!(complaint.contains("UnknownIssuer"), "{complaint}");
    let named = check(&["--env", "SSL_CERT_FILE=/etc/keyward/ca.pem"]).data();
    assert!(named.contains("answers"), "{named}");
}

#[test]
fn every_file_for_the_image_is_tested() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/image");
    let files = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    files.sort();
    // tests/run runs `rootfs`.
    assert_eq!(files, ["Dockerfile", "README.md", "rootfs"]);
}
