//! Keys and configuration change while keyward runs: they apply to the next request, no request
//! fails, and keyward never uses a state that nobody wrote.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_yaml::Value;
use tokio::time::{Instant, interval};

use crate::support::check::{self, Answer};
use crate::support::keyfile::{self, KeyFile, digest};
use crate::support::keyward::{Home, Keyward};
use crate::support::load::Load;
use crate::support::message::Ask;
use crate::support::process::Process;
use crate::support::scene::{self, key, secret};
use crate::support::stack::{Stack, both_shapes};
use crate::support::{http1, wait};

/// How long a file must be unchanged before keyward considers it complete.
const STILL_FOR: Duration = Duration::from_secs(1);

fn with(id: &str) -> Ask {
    Ask::get("/v1/orders").key(&secret(id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_every_second_under_load_fails_no_request_of_an_unchanged_key() {
    let steady = key(KeyFile::new(), "steady", &[]);
    let stack = Stack::start("{log: {decisions: none}}", &steady, both_shapes).await;
    let (to, other) = (stack.envoy.at("headers"), stack.envoy.at("raw"));
    let loads = [
        Load::start(to, &with("steady"), 4),
        Load::start(other, &with("steady"), 2),
    ];
    let mut second = interval(Duration::from_secs(1));
    for turn in 0..5 {
        second.tick().await;
        let coming = turn % 2 == 0;
        let keys = if coming {
            key(steady.clone(), "coming", &[])
        } else {
            steady.clone()
        };
        stack.keyward.reload(&keys).await;
        // Active for the next request.
        let reply = http1::send(to, &with("coming")).await;
        assert_eq!(
            reply.status,
            if coming { 200 } else { 401 },
            "turn {turn}: {reply:?}"
        );
    }
    for load in loads {
        assert!(load.answered() > 100, "there was load: {}", load.answered());
        let failures = load.end().await;
        assert!(failures.is_empty(), "{failures:#?}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_from_the_next_request() {
    let stack = Stack::start("{}", &key(KeyFile::new(), "k", &[]), both_shapes).await;
    let to = stack.envoy.at("headers");
    let mut connection = http1::Connection::open(to).await;
    assert_eq!(connection.send(&with("k")).await.unwrap().status, 200);
    let revoked = format!("revoked_at: {}", scene::PAST);
    for (change, code) in [
        (&[revoked.as_str()][..], "key_revoked"),
        (&["enabled: false"], "key_disabled"),
        (&["allow_ips: [10.0.0.0/8]"], "ip_not_allowed"),
    ] {
        stack
            .keyward
            .reload(&key(KeyFile::new(), "k", change))
            .await;
        let reply = connection.send(&with("k")).await.unwrap();
        assert_eq!(reply.problem()["code"], code, "{reply:?}");
    }
    stack
        .keyward
        .reload(&key(KeyFile::new(), "k", &["client: renamed"]))
        .await;
    assert_eq!(connection.send(&with("k")).await.unwrap().status, 200);
    let received = stack.upstream.take().pop().unwrap();
    assert_eq!(received.all("x-keyward-client"), ["renamed"]);
}

/// A keyward, a channel to it, and the results for some secrets.
struct Sidecar {
    keyward: Keyward,
    channel: tonic::transport::Channel,
}

impl Sidecar {
    async fn start(keys: &KeyFile) -> Self {
        let keyward = Keyward::start("{}", keys).await;
        let channel = check::channel(&keyward.grpc).await;
        Self { keyward, channel }
    }

    async fn answer(&self, id: &str) -> Answer {
        check::check(&self.channel, check::with_key(&secret(id)))
            .await
            .unwrap()
    }

    async fn allows(&self, id: &str) -> bool {
        self.answer(id).await.allowed()
    }

    async fn all_reloads(&self) -> f64 {
        self.keyward.reloads("keys", "success").await
            + self.keyward.reloads("keys", "failure").await
    }
}

/// Reads a key file independently of keyward: does it list the secret and not disable the key?
fn lists(text: &str, id: &str) -> bool {
    let parsed: Value = serde_yaml::from_str(text).unwrap_or_default();
    let keys = parsed["keys"].as_sequence().cloned().unwrap_or_default();
    keys.iter().any(|key| {
        let secrets = key["secrets"].as_sequence().cloned().unwrap_or_default();
        let listed = secrets
            .iter()
            .any(|s| s["digest"] == digest(&secret(id)).as_str());
        key["id"] == id && listed && key["enabled"] != false
    })
}

#[tokio::test]
async fn a_truncated_key_file_put_in_place_by_rename_allows_only_its_own_keys() {
    let before = key(KeyFile::new(), "old", &[]);
    let after = key(
        key(KeyFile::new(), "new", &["client: acme"]),
        "closed",
        &["client: acme", "enabled: false"],
    );
    let sidecar = Sidecar::start(&before).await;
    let text = after.text();
    // Every end of a line, and a position within each line.
    let ends = text.match_indices('\n').map(|(at, _)| at);
    let cuts = ends.flat_map(|end| [end.saturating_sub(7), end, end + 1]);
    let (mut old, mut new, mut closed) = (true, false, false);
    for cut in cuts {
        let part = &text[..cut];
        let reloads = sidecar.all_reloads().await;
        keyfile::replace_by_rename(&sidecar.keyward.home.keys(), part);
        wait::until("the truncated file was read", async || {
            sidecar.all_reloads().await > reloads
        })
        .await;
        let ids = ["old", "new", "closed"];
        let mut allowed = [false; 3];
        for (id, allowed) in ids.iter().zip(&mut allowed) {
            *allowed = sidecar.allows(id).await;
        }
        let refused = allowed == [old, new, closed];
        let listed = ids.map(|id| lists(part, id));
        assert!(
            refused || allowed == listed,
            "cut at {cut}: {allowed:?}, listed {listed:?}:\n{part}"
        );
        [old, new, closed] = allowed;
    }
    assert!(
        !old && new && !closed,
        "the complete file is active in the end"
    );
}

#[tokio::test]
async fn a_key_file_written_in_place_is_read_only_when_complete() {
    let before = key(KeyFile::new(), "old", &[]);
    let after = key(
        KeyFile::new(),
        "closed",
        &["client: acme", "enabled: false"],
    );
    let sidecar = Sidecar::start(&before).await;
    let path = sidecar.keyward.home.keys();
    let text = after.text();
    // Valid YAML and valid keys, but the last line is missing: the key would be enabled.
    let half = &text[..text.rfind("    enabled").unwrap()];
    let end = Instant::now() + Duration::from_secs(2);
    let mut writes = 0;
    'writing: while Instant::now() < end {
        // A writer that keeps writing.
        let more = format!("{half}# {writes}");
        let written = Instant::now();
        keyfile::write_in_place(&path, more);
        writes += 1;
        for _ in 0..20 {
            let taken = sidecar.allows("closed").await || !sidecar.allows("old").await;
            // If this writer was delayed for so long, the file was unchanged long enough.
            if written.elapsed() >= STILL_FOR {
                break 'writing;
            }
            assert!(!taken, "half a file was loaded as a complete one");
        }
    }
    keyfile::write_in_place(&path, text);
    wait::until("the complete file is active", async || {
        !sidecar.allows("old").await && sidecar.answer("closed").await.code() == "key_disabled"
    })
    .await;
}

#[tokio::test]
async fn an_invalid_key_file_changes_nothing_and_a_valid_one_recovers() {
    let good = key(KeyFile::new(), "old", &[]);
    let sidecar = Sidecar::start(&good).await;
    let path = sidecar.keyward.home.keys();
    let repeated = key(key(KeyFile::new(), "old", &[]), "old", &[]);
    // The parser that finds positions panics on a tag with a comma right behind it.
    let tag = "keys: [{id: [!x, b]}]";
    for bad in ["", "keys: [", "keys: 7", "nonsense", tag, repeated.text()] {
        let failures = sidecar.keyward.reloads("keys", "failure").await;
        keyfile::replace_by_rename(&path, bad);
        wait::until("the bad file is noticed", async || {
            sidecar.keyward.reloads("keys", "failure").await > failures
        })
        .await;
        assert!(sidecar.allows("old").await, "{bad:?}");
    }
    let ready = sidecar.keyward.fetch("/readyz").await;
    assert_eq!(
        ready.status, 200,
        "a bad reload is no reason to be restarted: {ready:?}"
    );
    sidecar.keyward.reload(&key(good, "new", &[])).await;
    assert!(sidecar.allows("new").await);
}

#[tokio::test]
async fn a_kubernetes_secret_swap_is_noticed_again_and_again() {
    let home = Home::new(
        "{source: {file: {path: mounted/keys.yaml}}}",
        &KeyFile::new(),
    );
    let mount = home.path("mounted");
    fs::create_dir(&mount).unwrap();
    let generation = |number: usize| {
        let dir = mount.join(format!("..gen{number}"));
        fs::create_dir(&dir).unwrap();
        let keys = key(KeyFile::new(), &format!("k{number}"), &[]);
        fs::write(dir.join("keys.yaml"), keys.text()).unwrap();
        let link = mount.join("..data_tmp");
        std::os::unix::fs::symlink(format!("..gen{number}"), &link).unwrap();
        fs::rename(link, mount.join("..data")).unwrap();
    };
    generation(0);
    std::os::unix::fs::symlink("..data/keys.yaml", mount.join("keys.yaml")).unwrap();
    let keyward = home.start().await;
    let channel = check::channel(&keyward.grpc).await;
    for number in 1..4 {
        generation(number);
        fs::remove_dir_all(mount.join(format!("..gen{}", number - 1))).unwrap();
        wait::until("the swap is noticed", async || {
            let request = check::with_key(&secret(&format!("k{number}")));
            check::check(&channel, request).await.unwrap().allowed()
        })
        .await;
        let request = check::with_key(&secret(&format!("k{}", number - 1)));
        let gone = check::check(&channel, request).await.unwrap();
        assert_eq!(gone.code(), "unknown_key");
    }
}

#[tokio::test]
async fn a_directory_of_key_files_is_one_source() {
    let home = Home::new("{source: {file: {path: keys.d}}}", &KeyFile::new());
    let dir = home.path("keys.d");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.yaml"), key(KeyFile::new(), "a", &[]).text()).unwrap();
    fs::write(dir.join("notes.txt"), "no keys").unwrap();
    let keyward = home.start().await;
    let channel = check::channel(&keyward.grpc).await;
    let allows = async |id: &str| {
        let request = check::with_key(&secret(id));
        check::check(&channel, request).await.unwrap().allowed()
    };
    assert!(allows("a").await);
    keyfile::replace_by_rename(&dir.join("b.yml"), key(KeyFile::new(), "b", &[]).text());
    wait::until("the second file is loaded", async || allows("b").await).await;
    assert!(allows("a").await);
    fs::remove_file(dir.join("a.yaml")).unwrap();
    wait::until("the first file is gone", async || !allows("a").await).await;
    assert!(allows("b").await);
    keyfile::replace_by_rename(&dir.join("c.yaml"), "keys: [");
    let expected = "keys not reloaded of faulty files; their last valid ones are kept";
    wait::until("the invalid file is logged", async || {
        keyward.log().iter().any(|line| line["msg"] == expected)
    })
    .await;
    assert!(allows("b").await);
}

#[tokio::test]
async fn sighup_reloads_keys_and_configuration() {
    let sidecar = Sidecar::start(&scene::keys_without_plans()).await;
    let home = &sidecar.keyward.home;
    home.configure("{default: allow-anyone}");
    sidecar.keyward.process.signal("HUP");
    wait::until("the new default is active", async || {
        sidecar.allows("made-up").await
    })
    .await;
    // A change that needs a restart is refused as a whole, with everything else in it.
    let failures = sidecar.keyward.reloads("config", "failure").await;
    home.configure("{default: deny, cache: {capacity: 7}}");
    sidecar.keyward.process.signal("HUP");
    wait::until("the change is refused", async || {
        sidecar.keyward.reloads("config", "failure").await > failures
    })
    .await;
    assert!(sidecar.allows("made-up").await);
}

#[tokio::test]
async fn a_key_created_by_the_command_works_while_keyward_runs() {
    let sidecar = Sidecar::start(&key(KeyFile::new(), "old", &[])).await;
    let path = sidecar.keyward.home.keys();
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    let mut made = Process::start(
        command
            .args(["keys", "new", "--id", "made", "--file"])
            .arg(&path),
    );
    let status = made.end().await;
    assert!(status.success(), "{}", made.output());
    let secret = made.stdout.text();
    let secret = secret.strip_suffix('\n').expect("one line on stdout");
    wait::until("the new key is active", async || {
        let request = check::with_key(secret);
        let answer = check::check(&sidecar.channel, request).await.unwrap();
        answer.allowed()
    })
    .await;
    assert!(sidecar.allows("old").await);
    let kept = fs::read_to_string(&path).unwrap();
    assert!(!kept.contains(secret), "only its digest is kept");
    assert!(kept.contains(&digest(secret)));
}
