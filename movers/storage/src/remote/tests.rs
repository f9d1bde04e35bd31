use std::sync::Mutex;

use super::*;

/// Fails as it was told, and then works.
#[derive(Default)]
struct Scripted {
    failures: Mutex<Vec<Failed>>,
    attempts: Mutex<usize>,
}

impl Scripted {
    fn answer<T>(&self, value: T) -> Result<T, Failed> {
        *self.attempts.lock().unwrap() += 1;
        self.failures.lock().unwrap().pop().map_or(Ok(value), Err)
    }
}

impl Service for Scripted {
    async fn read(&self, _: &str) -> Result<Bytes, Failed> {
        self.answer(Bytes::from_static(b"content"))
    }

    async fn read_range(&self, _: &str, _: u64, _: usize) -> Result<Bytes, Failed> {
        // A service that never answers.
        std::future::pending().await
    }

    async fn write(&self, _: &str, _: Bytes) -> Result<(), Failed> {
        self.answer(())
    }

    async fn list(&self, _: &str, found: &mut Vec<Object>) -> Result<(), Failed> {
        found.push(Object { name: format!("data/{}", found.len()), size: 1 });
        self.answer(())
    }

    async fn remove(&self, _: &str) -> Result<(), Failed> {
        self.answer(())
    }
}

fn remote(failures: &[Failed], manners: Manners) -> Remote<Scripted> {
    let failures = failures.iter().rev().cloned().collect();
    Remote::new(Scripted { failures: Mutex::new(failures), ..Scripted::default() }, manners).unwrap()
}

fn impatient() -> Manners {
    Manners { first_patience: Duration::from_millis(50), patience: Duration::from_millis(100), ..Manners::default() }
}

#[test]
fn what_passes_is_tried_again_and_what_lasts_is_not() {
    let store = remote(&[Failed::passing("503"), Failed::passing("reset")], Manners::default());
    assert_eq!(store.read("config").unwrap(), "content");
    assert_eq!(*store.service.attempts.lock().unwrap(), 3);

    let store = remote(&[Failed::lasting(Kind::Denied, "not you")], Manners::default());
    let error = store.write("locks/1", Bytes::new()).unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (Kind::Denied, "writing locks/1: not you"));
    assert_eq!(*store.service.attempts.lock().unwrap(), 1);
}

#[test]
fn a_listing_goes_on_where_the_attempt_before_ended() {
    let store = remote(&[Failed::passing("reset")], Manners::default());
    let names: Vec<_> = store.list("data").unwrap().into_iter().map(|object| object.name).collect();
    assert_eq!(names, ["data/0", "data/1"]);
}

#[test]
fn patience_ends_with_what_went_wrong_last_and_for_how_long() {
    let failures = vec![Failed::passing("connection refused"); 100];
    let error = remote(&failures, impatient()).remove("locks/1").unwrap_err();
    let text = error.to_string();
    assert!(error.kind == Kind::Unreachable && text.contains("connection refused; tried for 0 s"), "{text}");
    let error = remote(&[], impatient()).read_range("data/aa", 0, 1).unwrap_err();
    assert_eq!(error.to_string(), "reading data/aa: no answer; tried for 0 s");
}

#[test]
fn haste_ends_what_waits_and_lets_go_on_what_works() {
    let haste = Haste::default();
    let store = remote(&[], Manners { haste: haste.clone(), ..Manners::default() });
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.read_range("data/aa", 0, 1));
        haste.begin();
        let error = waiting.join().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "reading data/aa: no answer; tried for 5 s");
    });
    store.remove("locks/1").unwrap();
}
