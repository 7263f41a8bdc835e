//! Files of a directory that change one by one: each stands for itself, and of two that conflict
//! one is at fault.

use super::*;

/// A directory of files, what they have in force, and which are missing.
struct Scene {
    loaded: LoadedKeys,
    missing: BTreeSet<PathBuf>,
}

impl Scene {
    fn new(files: &[(&str, &[&str])]) -> Self {
        let texts: Vec<_> = files.iter().map(|(name, ids)| (*name, keys(ids))).collect();
        let mut scene = Self {
            loaded: LoadedKeys::default(),
            missing: BTreeSet::new(),
        };
        let changes: Vec<_> = texts
            .iter()
            .map(|(name, text)| (*name, Some(text.as_str())))
            .collect();
        assert_eq!(scene.change(&changes), "");
        scene
    }

    /// What is wrong after these changes, a line for each file at fault.
    fn change(&mut self, changes: &[(&str, Option<&str>)]) -> String {
        let changes = changes.iter().map(|(path, text)| FileChange {
            path: PathBuf::from(path),
            text: text.map(str::to_owned),
        });
        let decided = self
            .loaded
            .check(changes.collect(), &self.missing, &policy_with_plans());
        self.loaded = decided.keys;
        let faults = decided.faults.iter().map(|(path, problems)| {
            let problems = problems.to_string();
            let first = problems.lines().next().unwrap_or_default();
            assert!(first.starts_with(&path.display().to_string()), "{first}");
            let waits = decided.waiting.contains(path);
            if waits {
                format!("{first} (waits)")
            } else {
                first.to_owned()
            }
        });
        faults.collect::<Vec<_>>().join("\n")
    }

    fn ids(&self) -> String {
        let ids = self.loaded.map().iter().map(|record| record.id.as_str());
        ids.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn one_that_is_wrong_keeps_its_last_whole_state_while_the_others_change() {
    let mut scene = Scene::new(&[("a", &["a1", "a2"]), ("b", &["b"]), ("c", &["c"])]);
    let told = scene.change(&[
        ("b", Some("keys: [\n")),
        ("a", Some(&keys(&["a1"]))),
        ("d", Some("nonsense")),
        ("c", None),
    ]);
    assert!(
        told.starts_with("b:2:1: ") && told.contains("\nd:1:1: "),
        "{told}"
    );
    assert_eq!(scene.ids(), "a1 b");
    assert_eq!(scene.change(&[("b", Some(&keys(&["b", "b2"])))]), "");
    assert_eq!(scene.ids(), "a1 b b2");
    assert_eq!(scene.change(&[("a", Some("keys: []"))]), "");
    assert_eq!(scene.change(&[("b", Some(&keys(&["b2"])))]), "");
    assert_eq!(scene.ids(), "b2");
}

#[test]
fn one_that_clashes_with_what_is_in_force_from_another_is_at_fault_whatever_its_name() {
    for (old, new) in [("a", "b"), ("b", "a")] {
        let mut scene = Scene::new(&[(old, &["x", "y"])]);
        assert_eq!(
            scene.change(&[(new, Some(&keys(&["z", "x"])))]),
            format!(
                "{new}:6:9: keys[1].id: another key has this id; the first is keys[0] at {old}; keep one"
            )
        );
        assert_eq!(scene.ids(), "x y");
        // The same secret under another id.
        let told = scene.change(&[(
            new,
            Some(
                &keys(&["z"])
                    .replace("id: z", "id: w")
                    .replace(&digest("z"), &digest("y")),
            ),
        )]);
        assert!(
            told.contains("secrets[0].digest: another key has this digest"),
            "{told}"
        );
        assert_eq!(scene.ids(), "x y");
        // Both were written again, and the one that has had the key still has it.
        let both = [
            (old, Some(&*keys(&["y", "x"]))),
            (new, Some(&*keys(&["x"]))),
        ];
        let told = scene.change(&both);
        assert_eq!(
            told,
            format!(
                "{new}:2:9: keys[0].id: another key has this id; the first is keys[1] at {old}:6; keep one"
            )
        );
        assert_eq!(scene.ids(), "y x");
    }
}

#[test]
fn a_key_may_move_between_files_that_change_together() {
    let mut scene = Scene::new(&[("a", &["x", "a"]), ("b", &["b"])]);
    let moved = [
        ("a", Some(&*keys(&["a"]))),
        ("b", Some(&*keys(&["b", "x"]))),
    ];
    assert_eq!(scene.change(&moved), "");
    assert_eq!(scene.ids(), "a b x");
    // Each takes what the other had, and one of them is wrong besides: neither can change.
    let crossed = [
        ("a", Some(&*keys(&["b", "a"]))),
        ("b", Some(&*keys(&["x", "_"]))),
    ];
    let told = scene.change(&crossed);
    assert!(
        told.contains("a:2:9: keys[0].id: another key") && told.contains("\nb:6:9: "),
        "{told}"
    );
    assert_eq!(scene.ids(), "a b x");
    // Of two that are new, the later in the order of names.
    let told = scene.change(&[
        ("c", Some(&*keys(&["n"]))),
        ("d", Some(&*keys(&["m", "n"]))),
    ]);
    assert!(
        told.starts_with("d:6:9: keys[1].id: ") && told.ends_with("at c:2; keep one"),
        "{told}"
    );
    assert_eq!(scene.ids(), "a b x n");
}

#[test]
fn what_clashes_with_a_file_that_is_missing_waits_until_it_is_gone() {
    let mut scene = Scene::new(&[("a", &["x"]), ("b", &["y"])]);
    scene.missing.insert("a".into());
    let told = scene.change(&[("c", Some(&keys(&["x"])))]);
    assert!(told.ends_with("(waits)"), "{told}");
    let told = scene.change(&[("c", Some(&keys(&["x", "y"])))]);
    assert!(!told.ends_with("(waits)"), "{told}");
    scene.missing.clear();
    assert_eq!(scene.change(&[("a", None), ("c", Some(&keys(&["x"])))]), "");
    assert_eq!(scene.ids(), "y x");
}

#[test]
fn a_key_that_is_in_a_file_twice_is_that_files_fault() {
    let mut scene = Scene::new(&[("a", &["x"])]);
    let told = scene.change(&[("b", Some(&keys(&["n", "n"])))]);
    assert!(told.starts_with("b:6:9: keys[1].id: "), "{told}");
    assert_eq!(scene.ids(), "x");
}

#[test]
fn a_key_in_force_may_not_fit_another_policy() {
    let gold = keys(&["x"]).replace("    metadata", "    plan: gold\n    metadata");
    let mut scene = Scene::new(&[]);
    assert_eq!(
        scene.change(&[("a", Some(&gold)), ("b", Some(&keys(&["y"])))]),
        ""
    );
    let first_unusable = |file: &str, policy: &Policy| {
        let first_unusable = scene.loaded.first_unusable(Path::new(file), policy);
        first_unusable.map(|first_unusable| first_unusable.problem.to_string())
    };
    assert_eq!(first_unusable("a", &policy_with_plans()), None);
    let without = crate::authz::snapshot::tests::policy();
    assert!(
        first_unusable("a", &without)
            .unwrap()
            .contains("there is no such plan")
    );
    assert_eq!(first_unusable("b", &without), None);
    assert_eq!(first_unusable("c", &without), None);
}
