//! What is kept of a digest when several have something to keep.

use super::*;

fn entry(record: &Arc<KeyRecord>) -> Entry<KnownKey<String>> {
    Entry {
        value: KnownKey {
            kept: EntryState::Fetched(Arc::clone(record)),
            buckets: [Bucket::default(); 2],
        },
        at: Duration::ZERO,
        fresh_for: Duration::MAX,
        version: Version::default(),
    }
}

fn prepared(record: &Arc<KeyRecord>) -> EntryState<String> {
    EntryState::Prepared(Arc::new(CachedKey {
        record: Arc::clone(record),
        prepared: String::new(),
        generation: Generation(1),
    }))
}

/// What a slow caller made of a record replaces that record alone, not what was learnt while he made it.
#[test]
fn what_was_made_of_a_record_replaces_nothing_newer() {
    let entries = EntryStore::for_remote(10, 10, Duration::from_secs(5));
    let digest = digest_of("a");
    let [old, new] = [Arc::new(record("a")), Arc::new(record("a"))];
    let is_prepared = |of: &Arc<KeyRecord>| {
        let kept = entries.known(&digest).unwrap().value.kept;
        assert!(Arc::ptr_eq(kept.record(), of));
        matches!(kept, EntryState::Prepared(_))
    };
    let prepare = |of: &Arc<KeyRecord>| {
        entries.replace(&digest, of, |entry| entry.with_kept(prepared(of)));
    };
    entries.insert_key(&digest, entry(&old));
    prepare(&old);
    assert!(is_prepared(&old));
    entries.insert_key(&digest, entry(&new));
    prepare(&old);
    assert!(!is_prepared(&new));
    prepare(&new);
    assert!(is_prepared(&new));
    entries.insert_negative(
        &digest,
        Entry {
            value: None,
            at: Duration::ZERO,
            fresh_for: Duration::MAX,
            version: Version::default(),
        },
    );
    prepare(&new);
    assert!(entries.known(&digest).is_none());
}
