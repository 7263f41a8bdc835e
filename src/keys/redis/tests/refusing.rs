//! Servers that do not push: too old, look-alikes, or with a user that may not track. And servers
//! that remove what they hold.

use super::*;
use crate::keys::invalidation::SubscriptionState;

/// Servers that refuse to push, and a part of the report.
async fn refusing() -> Vec<(Server, &'static str)> {
    let without = async |program, command| {
        let options = ["--rename-command", command, ""];
        let server = Server::start(program, &options).await;
        fill(&mut server.client().await).await;
        server
    };
    let of_user = Server::redis().await;
    let mut client = of_user.client().await;
    fill(&mut client).await;
    run(
        &mut client,
        &["ACL", "SETUSER", "default", "-client|tracking"],
    )
    .await;
    vec![
        (without(Program::Redis, "HELLO").await, "RESP3"),
        (without(Program::Redis, "CLIENT").await, "CLIENT TRACKING"),
        (without(Program::Valkey, "CLIENT").await, "CLIENT TRACKING"),
        (of_user, "(NOPERM)"),
    ]
}

fn with(server: &Server, push: PushMode) -> RedisSource {
    let mut settings = settings(&server.url());
    settings.push = push;
    RedisSource::new(settings, clock()).unwrap()
}

async fn connections(server: &Server) -> u32 {
    let info = run(&mut server.client().await, &["INFO", "stats"]).await;
    let info: String = redis::from_redis_value(info).unwrap();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("total_connections_received:"));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn entries_of_a_server_that_refuses_to_push_serve_for_ttl_unless_pushes_are_required() {
    for (server, why) in refusing().await {
        let source = with(&server, PushMode::Auto);
        let told = source.probe().await.unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains(why) && told[0].contains("cache.ttl"),
            "{told:?}"
        );
        followed(&source, async |log| {
            until(why, async || {
                log.subscription() == SubscriptionState::Refused
            })
            .await;
            keeps_the_contract(&source).await;
            let version = log.version();
            assert_eq!(validity_of_a(&log, version), EntryValidity::Valid);
        })
        .await;

        let source = with(&server, PushMode::Require);
        let told = source.probe().await.unwrap_err().to_string();
        assert!(
            told.contains(why) && told.contains("would not be pushed"),
            "{told}"
        );
        followed(&source, async |log| {
            log.probe_requested().await;
            assert_eq!(log.subscription(), SubscriptionState::Unsubscribed);
            keeps_the_contract(&source).await;
            assert_eq!(
                validity_of_a(&log, log.version()),
                EntryValidity::Revalidate
            );
            // Asked once a minute and not twice a second.
            let mut client = server.client().await;
            let (before, asked) = (connections(&server).await, sent(&mut client, "role").await);
            until("seconds have passed", async || {
                sent(&mut client, "role").await > asked + 2
            })
            .await;
            let now = connections(&server).await;
            assert!(now <= before + 1, "{before} {now}: only ours");
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_refused_to_push_is_asked_again() {
    for push in [PushMode::Auto, PushMode::Require] {
        let server = Server::redis().await;
        let mut client = server.client().await;
        let tracking = ["ACL", "SETUSER", "default", "-client|tracking"];
        run(&mut client, &tracking).await;
        let mut source = with(&server, push);
        source.refused_retry_interval = Duration::from_millis(20);
        followed(&source, async |log| {
            log.probe_requested().await;
            assert!(!log.is_subscribed());
            run(
                &mut client,
                &["ACL", "SETUSER", "default", "+client|tracking"],
            )
            .await;
            until_subscribed(&log).await;
            is_invalidated("a change", &log, async || {
                put(&mut client, &records()[0]).await;
            })
            .await;
            // Refused from the next connection on.
            run(&mut client, &tracking).await;
            run(
                &mut client,
                &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
            )
            .await;
            let want = match push {
                PushMode::Auto => SubscriptionState::Refused,
                PushMode::Require | PushMode::Off => SubscriptionState::Unsubscribed,
            };
            until("it refuses", async || log.subscription() == want).await;
        })
        .await;
    }
}

#[tokio::test]
async fn with_push_off_a_server_is_not_asked_to_push() {
    let server = Server::redis().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    let source = with(&server, PushMode::Off);
    assert_eq!(source.push(), PushSupport::Disabled);
    assert_eq!(source.probe().await, Ok(Vec::new()));
    followed(&source, async |_| {
        keeps_the_contract(&source).await;
        let info = run(&mut client, &["INFO", "commandstats"]).await;
        let info: String = redis::from_redis_value(info).unwrap();
        assert!(
            !info.contains("tracking") && !info.contains("hello"),
            "{info}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_server_that_evicts_keys_in_use_gives_a_warning_where_its_policy_can_be_read() {
    for program in [Program::Redis, Program::Valkey] {
        let server = Server::start(program, &[]).await;
        let mut client = server.client().await;
        let mut tests = server.client().await;
        run(
            &mut client,
            &["ACL", "SETUSER", "tests", "on", "nopass", "~*", "+@all"],
        )
        .await;
        run(&mut tests, &["AUTH", "tests", "x"]).await;
        for (policy, rules, is_told) in [
            ("noeviction", &["+@all"][..], false),
            ("volatile-lru", &["+@all"], false),
            ("allkeys-lru", &["+@all"], true),
            ("allkeys-lfu", &["+@all", "-info"], true),
            ("allkeys-random", &["+@all", "-config"], true),
            ("allkeys-lru", &["+@all", "-config", "-info"], false),
        ] {
            let set = ["CONFIG", "SET", "maxmemory-policy", policy];
            run(&mut tests, &set).await;
            run(
                &mut tests,
                &[&["ACL", "SETUSER", "default"], rules].concat(),
            )
            .await;
            let told = source(&server.url()).probe().await.unwrap();
            assert_eq!(told.len(), usize::from(is_told), "{rules:?}: {told:?}");
            assert!(told.iter().all(|text| text.contains(policy)), "{told:?}");
        }
    }
}
