//! What is known at which moment.

use serde_json::json;

use super::*;

fn claim(name: &str, uid: &str, version: u64) -> PersistentVolumeClaim {
    let metadata = json!({"name": name, "namespace": "shop", "uid": uid, "resourceVersion": version.to_string(),
        "managedFields": [{"manager": "x"}]});
    serde_json::from_value(json!({"metadata": metadata})).unwrap()
}

fn told(claims: &[PersistentVolumeClaim]) -> Mirrors {
    let mirrors = Mirrors::default();
    list(&mirrors, claims);
    mirrors
}

fn list(mirrors: &Mirrors, claims: &[PersistentVolumeClaim]) {
    mirrors.claims.note(&Ok(Event::Init));
    claims.iter().for_each(|claim| mirrors.claims.note(&Ok(Event::InitApply(claim.clone()))));
    mirrors.claims.note(&Ok(Event::InitDone));
}

/// The version that is known; 0 of what is not there; none where nothing is known.
fn version(mirrors: &Mirrors, name: &str) -> Option<u64> {
    let found = mirrors.claims.get("shop", name)?;
    Some(found.map_or(0, |found| found.resource_version().unwrap().parse().unwrap()))
}

#[test]
fn nothing_is_known_before_a_watch_has_told_of_all_and_while_it_fails() {
    let mirrors = Mirrors::default();
    mirrors.claims.note(&Ok(Event::Init));
    mirrors.claims.note(&Ok(Event::InitApply(claim("a", "u", 1))));
    assert_eq!((version(&mirrors, "a"), mirrors.claims.all_in("shop").is_none()), (None, true));
    mirrors.claims.note(&Ok(Event::InitDone));
    assert_eq!((version(&mirrors, "a"), version(&mirrors, "b")), (Some(1), Some(0)));
    mirrors.claims.note(&Err(watcher::Error::NoResourceVersion));
    assert_eq!(version(&mirrors, "a"), None);
    mirrors.claims.note(&Ok(Event::Apply(claim("b", "v", 2))));
    assert_eq!((version(&mirrors, "a"), version(&mirrors, "b")), (Some(1), Some(2)));
    list(&mirrors, &[claim("b", "v", 2)]);
    assert_eq!((version(&mirrors, "a"), version(&mirrors, "b")), (Some(0), Some(2)));
}

#[test]
fn of_what_was_written_nothing_older_is_believed() {
    let mirrors = told(&[claim("a", "u", 1)]);
    mirrors.put(&claim("a", "u", 5));
    mirrors.claims.note(&Ok(Event::Apply(claim("a", "u", 3))));
    assert_eq!(version(&mirrors, "a"), Some(5));
    mirrors.claims.note(&Ok(Event::Apply(claim("a", "u", 7))));
    assert_eq!(version(&mirrors, "a"), Some(7));
    mirrors.put(&claim("a", "u", 6));
    assert_eq!(version(&mirrors, "a"), Some(7));
    assert!(mirrors.claims.get("shop", "a").unwrap().unwrap().managed_fields().is_empty());
}

#[test]
fn what_is_gone_does_not_come_back_by_a_late_answer_and_its_successor_stays() {
    let mirrors = told(&[]);
    mirrors.claims.note(&Ok(Event::Apply(claim("a", "u", 1))));
    mirrors.claims.note(&Ok(Event::Delete(claim("a", "u", 2))));
    mirrors.put(&claim("a", "u", 1));
    assert_eq!(version(&mirrors, "a"), Some(0));
    mirrors.put(&claim("a", "successor", 3));
    mirrors.claims.remove("shop", "a", "u");
    mirrors.claims.note(&Ok(Event::Delete(claim("a", "u", 2))));
    assert_eq!(version(&mirrors, "a"), Some(3));
}

#[test]
fn what_is_gone_does_not_come_back_by_a_late_word_of_a_watch_nor_by_a_list_that_was_made_before() {
    let mirrors = told(&[claim("a", "u", 1)]);
    mirrors.claims.remove("shop", "a", "u");
    mirrors.claims.note(&Ok(Event::Apply(claim("a", "u", 2))));
    assert_eq!(version(&mirrors, "a"), Some(0));
    list(&mirrors, &[claim("a", "u", 2), claim("b", "v", 3)]);
    assert_eq!((version(&mirrors, "a"), version(&mirrors, "b")), (Some(0), Some(3)));
    list(&mirrors, &[claim("a", "successor", 4)]);
    assert_eq!(version(&mirrors, "a"), Some(4));
}

#[test]
fn those_of_one_namespace_are_told_apart() {
    let mut other = claim("a", "w", 3);
    other.metadata.namespace = Some("shop2".to_owned());
    let mirrors = told(&[claim("a", "u", 1), claim("b", "v", 2), other]);
    let names =
        |namespace| mirrors.claims.all_in(namespace).unwrap().iter().map(|one| one.name_any()).collect::<Vec<_>>();
    assert_eq!(
        (names("shop"), names("shop2"), names("sho")),
        (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned()], vec![])
    );
}
