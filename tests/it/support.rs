//! Test infrastructure: processes (keyward, Envoy, Redis, Valkey, Prometheus, PHP), servers inside
//! the test (an upstream, a scripted authorization server, a key service), a proxy that injects
//! faults, callers, and the files that keyward reads. Each part stops when it is dropped, takes its
//! ports from the system, and waits for a condition rather than for time.

pub mod authz;
pub mod bootstrap;
pub mod browser;
pub mod caller;
pub mod certs;
pub mod check;
pub mod crds;
pub mod dns;
pub mod envoy;
pub mod fault_proxy;
pub mod http1;
pub mod http2;
pub mod image;
pub mod key_service;
pub mod keyfile;
pub mod keyward;
pub mod kubernetes;
pub mod load;
pub mod message;
pub mod metrics;
pub mod php;
pub mod pod;
pub mod port;
pub mod process;
pub mod prometheus;
pub mod promql;
pub mod redis;
pub mod scene;
pub mod stack;
pub mod upstream;
pub mod wait;
