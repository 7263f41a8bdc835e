//! What is stored of a digest when several have something to store.

use super::*;
use crate::keys::invalidation::{Bucket, Version};

fn entry<T>(value: T) -> Entry<T> {
    Entry {
        value,
        looked_up_at: Duration::ZERO,
        fresh_for: Duration::MAX,
        version: Version::default(),
    }
}

fn fetched(record: &Arc<KeyRecord>) -> KeyEntry<String> {
    entry(Arc::new(KnownKey {
        record: Arc::clone(record),
        buckets: [Bucket::default(); 2],
        state: EntryState::Fetched,
    }))
}

fn prepared(record: &Arc<KeyRecord>) -> EntryState<String> {
    EntryState::Prepared(Arc::new(CachedKey {
        record: Arc::clone(record),
        prepared: String::new(),
        generation: Generation(1),
    }))
}

/// What a slow caller made of a record replaces that record alone, not what was looked up
/// meanwhile.
#[test]
fn what_was_made_of_a_record_replaces_nothing_newer() {
    let entries = EntryStore::new(&cache_settings());
    let digest = digest_of("a");
    let [old, new] = [Arc::new(record("a")), Arc::new(record("a"))];
    let is_prepared = |of: &Arc<KeyRecord>| {
        let known = entries.key(&digest).unwrap().value;
        assert!(Arc::ptr_eq(&known.record, of));
        matches!(known.state, EntryState::Prepared(_))
    };
    let prepare = |of: &Arc<KeyRecord>| {
        entries.set_state(&digest, &fetched(of).value, prepared(of), Duration::MAX);
    };
    entries.insert_key(&digest, fetched(&old));
    prepare(&old);
    assert!(is_prepared(&old));
    entries.insert_key(&digest, fetched(&new));
    prepare(&old);
    assert!(!is_prepared(&new));
    prepare(&new);
    assert!(is_prepared(&new));
    entries.insert_negative(&digest, entry(None));
    prepare(&new);
    assert!(entries.key(&digest).is_none());
}
