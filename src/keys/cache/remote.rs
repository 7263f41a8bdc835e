//! A source that has to be asked, and the rules by which its answers are kept.
//!
//! Takes a digest and gives how its lookup ended, for all who wait for it. What was learnt is on the shelf before the
//! flight ends; a failure is given to those who waited and kept for nobody.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::super::source::{KeySource, SourceAnswer, SourceError};
use super::flight::{Flights, Landed};
use super::shelf::{Kept, Learnt, Shelf};
use crate::authz::clock::Clock;
use crate::authz::digest::KeyDigest;
use crate::observe::metrics::{SourceMetrics, SourceResult};

/// A source, and how long and how much of it is kept.
pub struct RemoteSource {
    /// The source.
    pub source: Arc<dyn KeySource>,
    /// Tells what is fresh.
    pub clock: Arc<dyn Clock>,
    /// How many known keys are kept.
    pub capacity: u64,
    /// How long a known key is fresh.
    pub ttl: Duration,
    /// How many unknown digests are kept.
    pub negative_capacity: u64,
    /// How long an unknown digest is fresh, or one whose record is not valid.
    pub negative_ttl: Duration,
    /// What counts its lookups.
    pub metrics: Option<SourceMetrics>,
}

pub(super) struct Remote {
    settings: Arc<RemoteSource>,
    flights: Flights,
}

impl Remote {
    pub(super) fn new(settings: RemoteSource) -> Self {
        Self {
            settings: Arc::new(settings),
            flights: Flights::default(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.settings.clock.monotonic()
    }

    pub(super) fn ttl(&self) -> Duration {
        self.settings.ttl
    }

    pub(super) fn negative_ttl(&self) -> Duration {
        self.settings.negative_ttl
    }

    /// Asks the source, or waits with those who have asked already. What it answers is on the shelf before anyone can ask again.
    pub(super) async fn look_up<P: Send + Sync + 'static>(
        &self,
        digest: &KeyDigest,
        kept: &Arc<Shelf<P>>,
    ) -> Landed {
        let flight = self.flights.join(digest, || {
            let (settings, kept, digest) = (Arc::clone(&self.settings), Arc::clone(kept), *digest);
            async move {
                let (asked_at, epoch) = (settings.clock.monotonic(), kept.epoch());
                // Another flight may have landed after this caller looked at the shelf and before it took off.
                if let Some((answer, asked_at)) = settings.on_shelf(&digest, &kept, asked_at) {
                    return Landed {
                        answer: Ok(answer),
                        asked_at,
                        epoch,
                    };
                }
                let answer = settings.ask(&digest).await;
                if let Ok(answer) = &answer {
                    keep(&kept, &digest, answer, asked_at, epoch);
                }
                Landed {
                    answer,
                    asked_at,
                    epoch,
                }
            }
        });
        flight.await
    }

    /// Lets no lookup that began before now answer one that begins later.
    pub(super) fn forget_all(&self) {
        self.flights.close();
    }

    #[cfg(test)]
    pub(super) fn flights(&self) -> usize {
        self.flights.count()
    }
}

impl RemoteSource {
    /// What is kept of a digest and fresh, and when it was asked for.
    fn on_shelf<P: Send + Sync + 'static>(
        &self,
        digest: &KeyDigest,
        kept: &Shelf<P>,
        now: Duration,
    ) -> Option<(SourceAnswer, Duration)> {
        if let Some(Learnt { what, at }) = kept.known(digest)
            && now.saturating_sub(at) < self.ttl
        {
            let record = match what {
                Kept::Prepared(cached) => Arc::clone(&cached.record),
                Kept::Bare(record) => record,
            };
            return Some((SourceAnswer::Found(record), at));
        }
        let Learnt { what, at } = kept.unknown(digest)?;
        let answer = what.map_or(SourceAnswer::NotFound, SourceAnswer::Invalid);
        (now.saturating_sub(at) < self.negative_ttl).then_some((answer, at))
    }

    async fn ask(&self, digest: &KeyDigest) -> Result<SourceAnswer, SourceError> {
        let begin = self.clock.monotonic();
        // A panic would go on to each that waits, one after the other; it is told as the failure that it is.
        let lookup = AssertUnwindSafe(async { self.source.lookup(digest).await });
        let answer = lookup
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(SourceError::Failed("a bug stopped it".into())))
            .map(|reply| reply.answer);
        if let Some(metrics) = &self.metrics {
            let result = match &answer {
                Ok(SourceAnswer::Found(_) | SourceAnswer::Invalid(_)) => SourceResult::Found,
                Ok(SourceAnswer::NotFound) => SourceResult::NotFound,
                Err(SourceError::Timeout) => SourceResult::Timeout,
                Err(SourceError::Failed(_) | SourceError::Overloaded) => SourceResult::Error,
            };
            metrics.looked_up(result, self.clock.monotonic().saturating_sub(begin));
            metrics.set_up(answer.is_ok());
        }
        answer
    }
}

fn keep<P: Send + Sync + 'static>(
    shelf: &Shelf<P>,
    digest: &KeyDigest,
    answer: &SourceAnswer,
    at: Duration,
    epoch: u64,
) {
    match answer {
        SourceAnswer::Found(record) => {
            shelf.keep_known(
                digest,
                Learnt {
                    what: Kept::Bare(Arc::clone(record)),
                    at,
                },
                epoch,
            );
        }
        SourceAnswer::NotFound => shelf.keep_unknown(digest, Learnt { what: None, at }, epoch),
        SourceAnswer::Invalid(invalid) => {
            shelf.keep_unknown(
                digest,
                Learnt {
                    what: Some(invalid.clone()),
                    at,
                },
                epoch,
            );
        }
    }
}
