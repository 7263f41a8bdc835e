//! What is kept of a digest when several have something to keep.

use super::*;

fn learnt(record: &Arc<KeyRecord>) -> Learnt<KnownKey<String>> {
    Learnt {
        what: KnownKey {
            kept: Kept::Bare(Arc::clone(record)),
            buckets: [Bucket::default(); 2],
        },
        at: Duration::ZERO,
        fresh_for: Duration::MAX,
        version: Version::default(),
    }
}

fn prepared(record: &Arc<KeyRecord>) -> Kept<String> {
    Kept::Prepared(Arc::new(CachedKey {
        record: Arc::clone(record),
        prepared: String::new(),
        generation: Generation(1),
    }))
}

/// What a slow caller made of a record replaces that record alone, not what was learnt while he made it.
#[test]
fn what_was_made_of_a_record_replaces_nothing_newer() {
    let shelf = Shelf::for_remote(10, 10, Duration::from_secs(5));
    let digest = digest_of("a");
    let [old, new] = [Arc::new(record("a")), Arc::new(record("a"))];
    let is_prepared = |of: &Arc<KeyRecord>| {
        let kept = shelf.known(&digest).unwrap().what.kept;
        assert!(Arc::ptr_eq(kept.record(), of));
        matches!(kept, Kept::Prepared(_))
    };
    let prepare = |of: &Arc<KeyRecord>| {
        shelf.replace(&digest, of, |learnt| learnt.with_kept(prepared(of)));
    };
    shelf.keep_known(&digest, learnt(&old));
    prepare(&old);
    assert!(is_prepared(&old));
    shelf.keep_known(&digest, learnt(&new));
    prepare(&old);
    assert!(!is_prepared(&new));
    prepare(&new);
    assert!(is_prepared(&new));
    shelf.keep_unknown(
        &digest,
        Learnt {
            what: None,
            at: Duration::ZERO,
            fresh_for: Duration::MAX,
            version: Version::default(),
        },
    );
    prepare(&new);
    assert!(shelf.known(&digest).is_none());
}
