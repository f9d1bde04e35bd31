//! Objects as operators leave them, for tests: `tests/fixtures/NAME.json`.

use jiff::Timestamp;
use serde_json::Value;

use crate::object::Object;

/// The moment of the fixtures.
pub(crate) fn now() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

/// The object of this fixture.
pub(crate) fn object(name: &str) -> Object {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let value: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    match value.get("kind").and_then(Value::as_str).unwrap() {
        "ReplicationSource" => {
            Object::from(serde_json::from_value::<doppel::api::source::ReplicationSource>(value).unwrap())
        }
        "ReplicationDestination" => {
            Object::from(serde_json::from_value::<doppel::api::destination::ReplicationDestination>(value).unwrap())
        }
        other => panic!("{other}"),
    }
}
