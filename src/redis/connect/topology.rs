//! Which servers there are: the masters of a cluster, or the master that sentinels name.
//!
//! Asks all nodes or sentinels at once. They may name a former master, so each new
//! connection checks the server's role.
//!
//! Sentinels are first asked without a user. One that wants a password gets the user and password
//! of the settings, which are the only ones there; with `rediss` sentinels, TLS and certificates
//! are those of the settings too, for sentinels as for the master.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use redis::Value;

use super::super::credentials::Credentials;
use super::super::error_text::{Cause, PushError, describe};
use super::super::settings::{RedisServers, RedisUrl};
use super::{Connection, Connector, Handshake, ServerAddress, with_timeout};

/// How long a sentinel may take in all. Short, since a silent one delays a failover.
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(500);

impl Connector {
    /// All masters, ordered by address; one, but for a cluster.
    pub(crate) async fn masters(
        &self,
        credentials: &Credentials,
    ) -> Result<Vec<ServerAddress>, Cause> {
        match &self.settings.servers {
            RedisServers::One(url) => Ok(vec![ServerAddress::of(url)]),
            RedisServers::Cluster(nodes) => self.slots(nodes, credentials).await,
            RedisServers::Sentinel { .. } => {
                let master = self.named_master(credentials).await?;
                Ok(vec![master])
            }
        }
    }

    /// The masters that have slots, by the first node that answers.
    pub(crate) async fn slots(
        &self,
        nodes: &[RedisUrl],
        credentials: &Credentials,
    ) -> Result<Vec<ServerAddress>, Cause> {
        let asking = nodes.iter().map(async |node| {
            let target = ServerAddress::of(node);
            let mut connection = self.login(&target, credentials).await?;
            masters_by(&mut connection, &target).await
        });
        let mut asked: FuturesUnordered<_> = asking.collect();
        let mut failures = Vec::new();
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(masters) => return Ok(masters),
                Err(cause) => failures.push(cause),
            }
        }
        Err(failures.join(", ").into())
    }

    /// The master that most of the answering sentinels name: one that is cut off from the others
    /// may go on naming the master that it last knew.
    pub(crate) async fn named_master(
        &self,
        credentials: &Credentials,
    ) -> Result<ServerAddress, Cause> {
        let RedisServers::Sentinel { master, nodes } = &self.settings.servers else {
            return Err("there are no sentinels".into());
        };
        let sentinels: Vec<_> = nodes.iter().map(ServerAddress::of).collect();
        let asking = sentinels
            .iter()
            .map(|sentinel| self.ask_sentinel(sentinel, master, credentials));
        let (mut named, mut failures) = (Vec::new(), Vec::new());
        for answer in join_all(asking).await {
            match answer {
                Ok(target) => named.push(target),
                Err(cause) => failures.push(cause),
            }
        }
        let votes = |target: &ServerAddress| named.iter().filter(|other| *other == target).count();
        match named.iter().find(|target| 2 * votes(target) > named.len()) {
            Some(target) => Ok(target.clone()),
            None if named.is_empty() => Err(failures.join(", ").into()),
            None => Err("the sentinels name different masters".into()),
        }
    }

    async fn ask_sentinel(
        &self,
        sentinel: &ServerAddress,
        master: &str,
        credentials: &Credentials,
    ) -> Result<ServerAddress, Cause> {
        let asking = self.try_ask_sentinel(sentinel, master, credentials);
        let asked = tokio::time::timeout(SENTINEL_TIMEOUT, asking).await;
        asked.unwrap_or_else(|_| Err(format!("sentinel {sentinel}: no answer in time").into()))
    }

    async fn try_ask_sentinel(
        &self,
        sentinel: &ServerAddress,
        master: &str,
        credentials: &Credentials,
    ) -> Result<ServerAddress, Cause> {
        let failed = |text: &str| Cause::from(format!("sentinel {sentinel}: {text}"));
        let opened = self.open(sentinel, credentials, Handshake::Anonymous).await;
        let mut connection = opened.map_err(|error: PushError| {
            let cause = error.into_cause();
            Cause::from(format!("sentinel {cause}"))
        })?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(master);
        let mut answer = ask.query_async::<Value>(&mut connection).await;
        if answer
            .as_ref()
            .is_err_and(|error| error.code() == Some("NOAUTH"))
        {
            let authenticated = self.log_in(&mut connection, credentials).await;
            authenticated.map_err(|error| failed(&describe(&error)))?;
            answer = ask.query_async(&mut connection).await;
        }
        let answer = answer.map_err(|error| failed(&describe(&error)))?;
        if answer == Value::Nil {
            return Err(failed("it knows no master of that name"));
        }
        address_in(&answer)
            .map(|(host, port)| sentinel.with_host(&host, port))
            .ok_or_else(|| failed("its answer is not an address"))
    }
}

/// The masters that have slots, by the server at the other end, ordered by address.
pub(crate) async fn masters_by(
    connection: &mut Connection,
    target: &ServerAddress,
) -> Result<Vec<ServerAddress>, Cause> {
    let failed = |text: &str| Cause::from(format!("{target}: {text}"));
    let slots = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
    let answer = with_timeout(&slots, connection).await;
    let answer = answer.map_err(|error| match error.code() {
        Some("ERR") => failed("it is not one of a cluster"),
        _ => failed(&describe(&error)),
    })?;
    let ranges = items(&answer).iter();
    let masters: Option<Vec<_>> = ranges.map(|range| master_in(range, target)).collect();
    let mut masters = masters.ok_or_else(|| failed("it does not know where the masters are"))?;
    if masters.is_empty() {
        return Err(failed("the cluster has no slots yet"));
    }
    masters.sort_by_key(ToString::to_string);
    masters.dedup();
    Ok(masters)
}

/// The master of a range of slots: `[first, last, [host, port, ..], replicas ..]`. `None` where the
/// node does not know it.
fn master_in(range: &Value, asked: &ServerAddress) -> Option<ServerAddress> {
    let master = items(items(range).get(2)?);
    // Null is the host of the node that was asked.
    let host = master.first()?;
    let host = bytes(host).or((*host == Value::Nil).then_some(b""))?;
    let host = std::str::from_utf8(host).ok()?;
    let Value::Int(port) = master.get(1)? else {
        return None;
    };
    (host != "?").then_some(asked.with_host(host, u16::try_from(*port).ok()?))
}

/// Host and port, both as text.
fn address_in(answer: &Value) -> Option<(String, u16)> {
    let [host, port] = items(answer) else {
        return None;
    };
    let text = |value| std::str::from_utf8(bytes(value)?).ok();
    Some((text(host)?.to_owned(), text(port)?.parse().ok()?))
}

/// The items of a list; none of anything else.
pub(crate) fn items(value: &Value) -> &[Value] {
    if let Value::Array(items) = value {
        items
    } else {
        &[]
    }
}

/// A string's bytes; both protocols have two kinds of strings.
pub(crate) fn bytes(value: &Value) -> Option<&[u8]> {
    if let Value::BulkString(bytes) = value {
        Some(bytes)
    } else if let Value::SimpleString(text) = value {
        Some(text.as_bytes())
    } else {
        None
    }
}
