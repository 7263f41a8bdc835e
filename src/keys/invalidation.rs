//! What a source tells by itself: that a key changed, and whether it would tell.
//!
//! A source that pushes holds a [`InvalidationSink`] and says what it hears. What is heard is kept as numbers in [`InvalidationLog`], one
//! that counts and one for each of many buckets that ids and digests are hashed to. Whatever is learnt of a key carries
//! the number that stood before the source was asked, so that a comparison tells whether anything came between: nothing has to be
//! found or removed in the cache, and no answer that was under way can undo what was heard meanwhile. Where two keys share a bucket,
//! a change of one has the other looked up: a key is never believed for it, and seldom refused, while lookups fail.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::authz::digest::KeyDigest;
use crate::clock::Clock;

mod subscription;

#[cfg(test)]
mod tests;

pub use subscription::Subscription;

/// Slots that ids and digests share, as many as a `u16` tells apart; half a MiB of numbers. Of 100 000 keys in the cache, a change
/// of one has three others looked up.
const BUCKETS: usize = 1 << 16;

/// The number that stood when the source was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u64);

/// What a stamped answer is worth now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryValidity {
    /// Nothing was heard since that concerns it, and all would have been heard.
    Valid,
    /// Something may have happened since that was not heard: the source must be asked, and only if it fails is the answer
    /// worth anything.
    Revalidate,
    /// It is known to have changed: the answer is worth nothing.
    Outdated,
}

/// What was heard of changes.
pub struct InvalidationLog {
    clock: Arc<dyn Clock>,
    /// Counts everything that is heard.
    count: AtomicU64,
    /// When everything changed last.
    all: AtomicU64,
    /// When anything changed last.
    any: AtomicU64,
    /// When pushes were lost or armed last, or doubt was ordered.
    doubt: AtomicU64,
    last: Mutex<LastSubscription>,
    /// When the ids and digests of a bucket changed last.
    buckets: Box<[AtomicU64]>,
    /// The code of a `Subscription`.
    subscription: AtomicU8,
    /// Whether it was ever said that they are not.
    ever_lost: AtomicBool,
    suspicion: Notify,
    hasher: RandomState,
}

/// When pushes were armed last, and what became of them since.
#[derive(Debug, Default)]
struct LastSubscription {
    /// The number of the last arming.
    subscribed: u64,
    /// The number of the first refusal since.
    refused: Option<u64>,
    /// When they were lost since, on the monotonic clock.
    lost_at: Option<Duration>,
}

/// Where changes of an id or a digest are noted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket(u16);

impl InvalidationLog {
    /// Nothing heard yet. Where the source pushes, nothing is believed before it has armed.
    pub fn new(source_pushes: bool, clock: Arc<dyn Clock>) -> Self {
        let (subscription, lost_at) = if source_pushes {
            (Subscription::Unsubscribed, Some(clock.monotonic()))
        } else {
            (Subscription::Off, None)
        };
        let last = LastSubscription {
            lost_at,
            ..LastSubscription::default()
        };
        Self {
            clock,
            count: AtomicU64::new(0),
            all: AtomicU64::new(0),
            any: AtomicU64::new(0),
            doubt: AtomicU64::new(0),
            last: Mutex::new(last),
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            subscription: AtomicU8::new(subscription.code()),
            ever_lost: AtomicBool::new(false),
            suspicion: Notify::new(),
            hasher: RandomState::new(),
        }
    }

    /// The number that dates an answer with; to be taken before the source is asked.
    pub fn version(&self) -> Version {
        Version(self.count.load(Ordering::SeqCst))
    }

    /// Where changes of the key with that id are noted.
    pub fn bucket_of_id(&self, id: &str) -> Bucket {
        bucket(self.hasher.hash_one(id))
    }

    /// Where changes of what has that digest are noted.
    pub fn bucket_of_digest(&self, digest: &KeyDigest) -> Bucket {
        bucket(self.hasher.hash_one(digest))
    }

    /// What an answer of that version about a key with these buckets is worth.
    pub fn validity(&self, version: Version, buckets: [Bucket; 2]) -> EntryValidity {
        let changed = |bucket: &Bucket| {
            let number = self.buckets.get(usize::from(bucket.0));
            number.is_some_and(|number| number.load(Ordering::SeqCst) > version.0)
        };
        if self.all.load(Ordering::SeqCst) > version.0 || buckets.iter().any(changed) {
            EntryValidity::Outdated
        } else if self.believes() && self.doubt.load(Ordering::SeqCst) <= version.0 {
            EntryValidity::Valid
        } else {
            EntryValidity::Revalidate
        }
    }

    /// What the answer of that version that a digest is not known is worth: any change may have made it known.
    pub fn validity_of_negative(&self, version: Version) -> EntryValidity {
        if self.any.load(Ordering::SeqCst) > version.0 {
            EntryValidity::Outdated
        } else if self.believes() && self.doubt.load(Ordering::SeqCst) <= version.0 {
            EntryValidity::Valid
        } else {
            EntryValidity::Revalidate
        }
    }

    /// Whether changes are heard at the moment.
    pub fn subscription(&self) -> Subscription {
        Subscription::of_code(self.subscription.load(Ordering::SeqCst))
    }

    #[cfg(test)]
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscription() == Subscription::Subscribed
    }

    /// Whether what is learnt may be believed without asking again.
    fn believes(&self) -> bool {
        self.subscription() != Subscription::Unsubscribed
    }

    /// Waits until pushes are lost, or something else speaks against the source.
    pub async fn source_suspected(&self) {
        self.suspicion.notified().await;
    }

    /// Makes everything learnt so far doubtful, although nothing was missed.
    pub fn revalidate_all(&self) {
        self.note(&[&self.doubt]);
    }

    /// The moment from which on what was learnt with that version may differ from what the source has, on the monotonic clock: when
    /// pushes were lost, or when its time was over. `None` if pushes were armed since: it must be looked up.
    pub fn stale_since(
        &self,
        version: Version,
        learnt_at: Duration,
        stale_at: Duration,
    ) -> Option<Duration> {
        let last = self.last();
        if last.subscribed > version.0 {
            return None;
        }
        let is_pushed = last.refused.is_none_or(|refused| refused > version.0);
        let lost_at = last.lost_at.filter(|_| is_pushed);
        Some(lost_at.map_or(stale_at, |lost_at| lost_at.max(learnt_at).min(stale_at)))
    }

    /// Notes that what is learnt is believed from now on, after what was learnt before has become doubtful: whoever sees the one must
    /// see the other.
    fn subscribe(&self, subscription: Subscription) {
        let mut last = self.last();
        let number = self.note(&[&self.doubt]);
        if subscription == Subscription::Subscribed {
            *last = LastSubscription {
                subscribed: number,
                ..LastSubscription::default()
            };
        } else {
            last.refused.get_or_insert(number);
        }
        self.subscription
            .store(subscription.code(), Ordering::SeqCst);
    }

    /// Notes that a change may go unheard; what was so before.
    fn unsubscribe(&self) -> Subscription {
        let mut last = self.last();
        let before = self.subscription();
        if before != Subscription::Unsubscribed {
            self.subscription
                .store(Subscription::Unsubscribed.code(), Ordering::SeqCst);
            self.note(&[&self.doubt]);
        }
        // A server that refuses to push has no pushes to lose.
        if before == Subscription::Subscribed {
            last.lost_at = Some(self.clock.monotonic());
        }
        before
    }

    /// The next number in these places. A version taken before this is lower and one taken after is not.
    fn note(&self, places: &[&AtomicU64]) -> u64 {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        for place in places {
            place.fetch_max(number, Ordering::SeqCst);
        }
        number
    }

    fn note_in(&self, bucket: Bucket) {
        match self.buckets.get(usize::from(bucket.0)) {
            Some(place) => self.note(&[place, &self.any]),
            None => self.note(&[&self.all, &self.any]),
        };
    }

    fn last(&self) -> MutexGuard<'_, LastSubscription> {
        // Every change is whole before anything could panic.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bucket(hash: u64) -> Bucket {
    let [low, high, ..] = hash.to_le_bytes();
    Bucket(u16::from_le_bytes([low, high]))
}

impl fmt::Debug for InvalidationLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidationLog")
            .field("subscription", &self.subscription())
            .finish_non_exhaustive()
    }
}

/// Says what a source hears; clones say it to the same cache.
#[derive(Debug, Clone)]
pub struct InvalidationSink {
    log: Arc<InvalidationLog>,
    heard: Option<prometheus::IntCounter>,
    up: Option<prometheus::IntGauge>,
    source: &'static str,
}

impl InvalidationSink {
    /// What is heard goes there, and is counted by `heard`.
    pub fn new(
        log: Arc<InvalidationLog>,
        source: &'static str,
        heard: Option<prometheus::IntCounter>,
    ) -> Self {
        Self {
            log,
            heard,
            up: None,
            source,
        }
    }

    /// The same, with a gauge that is 1 while changes are heard.
    #[must_use]
    pub fn shown_by(self, up: Option<prometheus::IntGauge>) -> Self {
        Self { up, ..self }
    }

    /// From now on every change is heard. What was learnt before is doubtful: what happened in between was not.
    pub fn subscribed(&self) {
        self.log.subscribe(Subscription::Subscribed);
        self.show(true);
        tracing::info!(source = self.source, "changes of keys are pushed");
    }

    /// The source refuses to push: what is learnt from now on is believed for its time. Told in the log when it begins.
    pub fn refused(&self, why: &str) {
        if self.log.subscription() == Subscription::Refused {
            return;
        }
        self.log.subscribe(Subscription::Refused);
        self.show(false);
        tracing::warn!(
            source = self.source,
            why,
            "the server refuses to push changes of keys; a change is seen up to `cache.ttl` later"
        );
        self.suspect_source();
    }

    /// Changes may not be heard any more, or cannot be heard to begin with. That they were lost is told in the log.
    pub fn unsubscribed(&self, why: &str) {
        let before = self.log.unsubscribe();
        self.show(false);
        let is_first = !self.log.ever_lost.swap(true, Ordering::SeqCst);
        if before == Subscription::Subscribed {
            tracing::warn!(
                source = self.source,
                why,
                "changes of keys are not pushed any more; each key is looked up at its next use"
            );
        }
        if before != Subscription::Unsubscribed || is_first {
            self.suspect_source();
        }
    }

    /// Has the source tried, for something speaks against it.
    pub fn suspect_source(&self) {
        self.log.suspicion.notify_one();
    }

    fn show(&self, is_up: bool) {
        if let Some(up) = &self.up {
            up.set(i64::from(is_up));
        }
    }

    /// The key with that id changed or went.
    pub fn key_changed(&self, id: &str) {
        self.log.note_in(self.log.bucket_of_id(id));
        self.count();
    }

    /// That digest is another key's, or no key's, or a key's now.
    pub fn digest_changed(&self, digest: &KeyDigest) {
        self.log.note_in(self.log.bucket_of_digest(digest));
        self.count();
    }

    /// Any key may have changed.
    pub fn all_changed(&self) {
        self.log.note(&[&self.log.all, &self.log.any]);
        self.count();
    }

    fn count(&self) {
        if let Some(heard) = &self.heard {
            heard.inc();
        }
    }
}
