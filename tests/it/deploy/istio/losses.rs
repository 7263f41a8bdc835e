//! What the `EnvoyFilter` does about failures: a silently lost connection, a killed keyward.

use crate::deploy::envoy::losses::{keyward, proxy_to};
use crate::support::bootstrap::Bootstrap;
use crate::support::envoy::Envoy;
use crate::support::keyward::Address;
use crate::support::load::Load;
use crate::support::message::Ask;
use crate::support::scene::secret;
use crate::support::upstream::Upstream;
use crate::support::wait;

use super::{cluster, gateway, patch_cluster};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_and_a_killed_keyward_fail_no_request() {
    let (upstream, mut killed) = (Upstream::start().await, keyward().await);
    let staying = keyward().await;
    let proxies = [proxy_to(&killed).await, proxy_to(&staying).await];
    let both = [0, 1].map(|one: usize| Address::Tcp(proxies[one].address));
    let bootstrap = Bootstrap::new(&killed.grpc, upstream.address)
        .authz(&cluster(), &both, |cluster| patch_cluster(cluster, true))
        .listener("gateway", |l| gateway(l, true));
    let envoy = Envoy::start(&bootstrap).await;
    let ask = Ask::get("/v1/orders").key(&secret("bare"));
    let load = Load::start(envoy.at("gateway"), &ask, 8);
    let goes_on = async || {
        let before = load.answered();
        wait::until("the load continues", async || {
            load.answered() > before + 300
        })
        .await;
    };
    goes_on().await;
    for proxy in &proxies {
        proxy.silence();
        goes_on().await;
    }
    killed.process.signal("KILL");
    killed.process.end().await;
    goes_on().await;
    let failures = load.end().await;
    assert!(failures.is_empty(), "{failures:#?}");
}
