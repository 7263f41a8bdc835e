//! Callers that send requests until they are stopped, and count the responses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::message::{Ask, Reply};
use super::{http1, http2};

/// Sends requests one after the other on a few connections, HTTP/1.1 and HTTP/2 in turns.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: JoinSet<Vec<String>>,
}

impl Load {
    /// Every response must be a 200.
    pub fn start(to: SocketAddr, ask: &Ask, connections: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for number in 0..connections {
            let (ask, stop, answered) = (ask.clone(), Arc::clone(&stop), Arc::clone(&answered));
            callers.spawn(async move {
                let mut failures = Vec::new();
                let mut one = http1::Connection::open(to).await;
                let mut two = http2::Connection::open(to).await;
                while !stop.load(Ordering::Relaxed) && failures.len() < 10 {
                    let reply = if number % 2 == 0 {
                        one.send(&ask)
                            .await
                            .ok_or_else(|| "connection closed".to_owned())
                    } else {
                        two.send(&ask).await.map_err(|error| error.to_string())
                    };
                    match reply {
                        Ok(Reply { status: 200, .. }) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(other) => failures.push(format!("{other:?}")),
                        Err(error) => failures.push(error),
                    }
                }
                failures
            });
        }
        Self {
            stop,
            answered,
            callers,
        }
    }

    /// The number of responses with 200 so far.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Stops; returns every failure.
    pub async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await.concat()
    }
}
