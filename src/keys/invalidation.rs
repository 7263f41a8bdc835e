//! Cache invalidation: which entries are valid, by the changes that a source pushes.
//!
//! A source reports to the [`InvalidationLog`] what it receives. The log counts these events, which
//! is its version, and keeps the version of the last change for each of many buckets, which ids and
//! digests are hashed to. An entry of the cache carries the version from before the source was
//! asked, so that a comparison tells whether a change came after it. Nothing has to be found or
//! removed in the cache, and a lookup in flight cannot bring back what a change invalidated
//! meanwhile. A change of one key has the others of its bucket looked up too, and refused if that
//! fails: seldom, and never used by mistake.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::authz::digest::KeyDigest;
use crate::clock::Clock;
use crate::mutex::lock;

#[cfg(test)]
mod tests;

/// As many as a `u16` numbers; half a MiB. With 100 000 keys in the cache, a change of one has
/// three others looked up.
const BUCKETS: usize = 1 << 16;

/// How many events the log had received, before the source was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u64);

/// Whether an entry of the cache may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryValidity {
    /// Any change of it since would have been received.
    Valid,
    /// A change of it may have been missed: the source must be asked, and only if that fails may
    /// the entry be served stale.
    Revalidate,
    /// It is known to have changed: it must not be used.
    Outdated,
}

/// Whether keyward receives the changes of keys, as `/readyz` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Every change is pushed.
    Subscribed,
    /// A change may be missed: nothing is used without asking.
    Unsubscribed,
    /// No change is pushed, for the source refuses to: entries are valid for their time.
    Refused,
    /// The same because the source does not push, or is not wanted to.
    Off,
}

impl SubscriptionState {
    /// The word that operators read.
    pub const fn as_str(self) -> &'static str {
        match self {
            // The words of `/readyz`, which operators read in its documentation.
            Self::Subscribed => "armed",
            Self::Unsubscribed => "lost",
            Self::Refused => "refused",
            Self::Off => "off",
        }
    }
}

/// Where changes of an id or a digest are noted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket(u16);

impl Bucket {
    fn of_hash(hash: u64) -> Self {
        let [low, high, ..] = hash.to_le_bytes();
        Self(u16::from_le_bytes([low, high]))
    }
}

/// The changes that were received, and what they make of entries.
pub struct InvalidationLog {
    source: &'static str,
    clock: Arc<dyn Clock>,
    /// Counts the changes that are received.
    received: Option<prometheus::IntCounter>,
    /// 1 while changes are pushed.
    up: Option<prometheus::IntGauge>,
    /// How many events there were.
    version: AtomicU64,
    /// The version of the last change of all keys at once.
    all_changed: AtomicU64,
    /// The version of the last change of any key.
    any_changed: AtomicU64,
    /// The version of the last change in each bucket.
    buckets: Box<[AtomicU64]>,
    /// Entries of earlier versions are due for revalidation; all of them, for `u64::MAX`. One
    /// number says both, so that no check finds the log subscribed and entries from before still
    /// valid.
    valid_from: AtomicU64,
    state: Mutex<State>,
    probe_request: Notify,
    hasher: RandomState,
}

/// When changes began and ceased to be pushed.
struct State {
    subscription: SubscriptionState,
    /// The version of the last subscription.
    subscribed: u64,
    /// The version of the first refusal since.
    refused: Option<u64>,
    /// When the subscription was lost since, on the monotonic clock.
    lost_at: Option<Duration>,
    /// The reason that was reported last for having none.
    reported: Option<String>,
}

impl InvalidationLog {
    /// An empty log. Where the source pushes, no entry is valid before it has subscribed.
    pub fn new(source: &'static str, source_pushes: bool, clock: Arc<dyn Clock>) -> Self {
        Self {
            source,
            received: None,
            up: None,
            version: AtomicU64::new(0),
            all_changed: AtomicU64::new(0),
            any_changed: AtomicU64::new(0),
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            valid_from: AtomicU64::new(if source_pushes { u64::MAX } else { 0 }),
            state: Mutex::new(State {
                subscription: if source_pushes {
                    SubscriptionState::Unsubscribed
                } else {
                    SubscriptionState::Off
                },
                subscribed: 0,
                refused: None,
                lost_at: source_pushes.then(|| clock.monotonic()),
                reported: None,
            }),
            probe_request: Notify::new(),
            hasher: RandomState::new(),
            clock,
        }
    }

    /// The same, with a counter of changes and a gauge that is 1 while they are pushed.
    #[must_use]
    pub fn with_metrics(
        self,
        received: Option<prometheus::IntCounter>,
        up: Option<prometheus::IntGauge>,
    ) -> Self {
        Self {
            received,
            up,
            ..self
        }
    }

    /// The version for an entry; to be taken before the source is asked.
    pub fn version(&self) -> Version {
        Version(self.version.load(Ordering::SeqCst))
    }

    /// Where changes of the key with that id are noted.
    pub fn bucket_of_id(&self, id: &str) -> Bucket {
        Bucket::of_hash(self.hasher.hash_one(id))
    }

    /// Where changes of the key that has that digest are noted.
    pub fn bucket_of_digest(&self, digest: &KeyDigest) -> Bucket {
        Bucket::of_hash(self.hasher.hash_one(digest))
    }

    /// Whether an entry of that version, of a key with these buckets, may be used.
    pub fn validity(&self, version: Version, buckets: [Bucket; 2]) -> EntryValidity {
        let has_changed = |bucket: &Bucket| {
            let changed = self.buckets.get(usize::from(bucket.0));
            changed.is_some_and(|changed| changed.load(Ordering::SeqCst) > version.0)
        };
        let all_changed = self.all_changed.load(Ordering::SeqCst) > version.0;
        self.validity_unless(all_changed || buckets.iter().any(has_changed), version)
    }

    /// Whether the answer of that version that a digest is unknown may be used: any change may have
    /// given a key to it.
    pub fn validity_of_negative(&self, version: Version) -> EntryValidity {
        let any_changed = self.any_changed.load(Ordering::SeqCst) > version.0;
        self.validity_unless(any_changed, version)
    }

    fn validity_unless(&self, is_outdated: bool, version: Version) -> EntryValidity {
        if is_outdated {
            EntryValidity::Outdated
        } else if self.valid_from.load(Ordering::SeqCst) <= version.0 {
            EntryValidity::Valid
        } else {
            EntryValidity::Revalidate
        }
    }

    /// Whether changes are pushed at the moment.
    pub fn subscription(&self) -> SubscriptionState {
        self.state().subscription
    }

    #[cfg(test)]
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscription() == SubscriptionState::Subscribed
    }

    /// Waits until the source is suspected to be down.
    pub async fn probe_requested(&self) {
        self.probe_request.notified().await;
    }

    /// Has every entry revalidated, although no change was missed.
    pub fn revalidate_all(&self) {
        // Under the lock, or a subscription that begins meanwhile would undo it.
        let _state = self.state();
        self.note(&[&self.valid_from]);
    }

    /// Since when a change of an entry may have been missed, on the monotonic clock: since its
    /// subscription was lost, or since it ceased to be fresh. `None` if there is a new subscription
    /// since: then a change before that was missed for good, and only a lookup can tell.
    pub fn stale_since(
        &self,
        version: Version,
        looked_up_at: Duration,
        fresh_until: Duration,
    ) -> Option<Duration> {
        let state = self.state();
        if state.subscribed > version.0 {
            return None;
        }
        // An entry from after a refusal never had a subscription that could be lost.
        let had_pushes = state.refused.is_none_or(|refused| refused > version.0);
        let lost_at = state.lost_at.filter(|_| had_pushes);
        Some(lost_at.map_or(fresh_until, |lost_at| {
            lost_at.max(looked_up_at).min(fresh_until)
        }))
    }

    /// Reports that from now on every change is reported. What was looked up before is due for
    /// revalidation.
    pub fn subscribed(&self) {
        self.begin(SubscriptionState::Subscribed);
        tracing::info!(source = self.source, "changes of keys are pushed");
    }

    /// Reports that the source refuses to push: from now on entries are valid for their time.
    /// Logged when it begins.
    pub fn refused(&self, why: &str) {
        if self.subscription() == SubscriptionState::Refused {
            return;
        }
        self.begin(SubscriptionState::Refused);
        tracing::warn!(
            source = self.source,
            why,
            "the server refuses to push changes of keys; a change is seen up to `cache.ttl` later"
        );
        self.request_probe();
    }

    fn begin(&self, subscription: SubscriptionState) {
        let mut state = self.state();
        let version = self.note(&[]);
        if subscription == SubscriptionState::Subscribed {
            state.subscribed = version;
            state.refused = None;
            state.lost_at = None;
        } else {
            state.refused.get_or_insert(version);
        }
        state.reported = None;
        self.valid_from.store(version, Ordering::SeqCst);
        self.set_subscription(subscription, &mut state);
    }

    /// Reports that from now on a change may be missed: the subscription is lost, or there could be
    /// none. Each reason is logged once until there is a subscription.
    pub fn unsubscribed(&self, why: &str) {
        let mut state = self.state();
        let before = state.subscription;
        let is_first_report = state.reported.is_none();
        let is_reported = state.reported.as_deref() == Some(why);
        state.reported = Some(why.to_owned());
        self.set_subscription(SubscriptionState::Unsubscribed, &mut state);
        if before != SubscriptionState::Unsubscribed {
            // The event counts, so that a caller who comes after it joins no lookup from before it.
            self.note(&[]);
            self.valid_from.store(u64::MAX, Ordering::SeqCst);
        }
        drop(state);
        if is_first_report {
            self.request_probe();
        }
        if before == SubscriptionState::Subscribed {
            tracing::warn!(
                source = self.source,
                why,
                "changes of keys are not pushed any more; each key is looked up at its next use"
            );
        } else if !is_reported {
            tracing::warn!(
                source = self.source,
                why,
                "changes of keys are not pushed; each key is looked up at its next use"
            );
        }
    }

    /// Has the circuit breaker probe the source.
    pub fn request_probe(&self) {
        self.probe_request.notify_one();
    }

    /// Reports that the key with that id changed, or that there is none any more.
    pub fn key_changed(&self, id: &str) {
        self.bucket_changed(self.bucket_of_id(id));
    }

    /// Reports that a digest belongs to another key now, or to none, or to one for the first time.
    pub fn digest_changed(&self, digest: &KeyDigest) {
        self.bucket_changed(self.bucket_of_digest(digest));
    }

    /// Reports that any key may have changed.
    pub fn all_changed(&self) {
        self.changed(&self.all_changed);
    }

    fn bucket_changed(&self, bucket: Bucket) {
        let changed = self.buckets.get(usize::from(bucket.0));
        self.changed(changed.unwrap_or(&self.all_changed));
    }

    fn changed(&self, marker: &AtomicU64) {
        self.note(&[marker, &self.any_changed]);
        if let Some(received) = &self.received {
            received.inc();
        }
    }

    /// Counts an event, and stores its version in these markers. A version taken before this is
    /// lower, and one taken after is not.
    fn note(&self, markers: &[&AtomicU64]) -> u64 {
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        for marker in markers {
            marker.fetch_max(version, Ordering::SeqCst);
        }
        version
    }

    fn set_subscription(&self, subscription: SubscriptionState, state: &mut State) {
        let before = std::mem::replace(&mut state.subscription, subscription);
        if before == SubscriptionState::Subscribed && subscription != before {
            state.lost_at = Some(self.clock.monotonic());
        }
        if let Some(up) = &self.up {
            up.set(i64::from(subscription == SubscriptionState::Subscribed));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
