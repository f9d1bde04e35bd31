use std::sync::{Arc, Mutex};

use kube::core::Status;

use super::*;

/// A record in memory, with the API server's rule about resourceVersions, and faults to order.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    record: Option<Record>,
    version: u32,
    /// The status code that every request fails with.
    failing: Option<u16>,
    /// Whether requests never return.
    hanging: bool,
}

impl Memory {
    async fn request(&self) -> kube::Result<()> {
        let (failing, hanging) = {
            let inner = self.0.lock().unwrap();
            (inner.failing, inner.hanging)
        };
        if hanging {
            std::future::pending::<()>().await;
        }
        failing.map_or(Ok(()), |code| Err(error(code)))
    }

    fn put(&self, record: &Record) -> kube::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let current = inner.record.as_ref().and_then(|record| record.metadata.resource_version.clone());
        if record.metadata.resource_version != current {
            return Err(error(409));
        }
        inner.version += 1;
        let mut record = record.clone();
        record.metadata.resource_version = Some(inner.version.to_string());
        inner.record = Some(record);
        Ok(())
    }

    fn holder(&self) -> String {
        holder(self.0.lock().unwrap().record.as_ref().unwrap()).to_owned()
    }

    fn set(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl Store for Memory {
    async fn read(&self) -> kube::Result<Option<Record>> {
        self.request().await?;
        Ok(self.0.lock().unwrap().record.clone())
    }

    async fn create(&self, record: &Record) -> kube::Result<()> {
        self.request().await?;
        self.put(record)
    }

    async fn replace(&self, record: &Record) -> kube::Result<()> {
        self.request().await?;
        self.put(record)
    }
}

fn error(code: u16) -> kube::Error {
    kube::Error::Api(Box::new(Status { code, ..Status::default() }))
}

fn instance(store: &Memory, identity: &str) -> Election<Memory> {
    Election { store: store.clone(), identity: identity.to_owned() }
}

#[tokio::test(start_paused = true)]
async fn the_first_instance_has_the_lease_at_once() {
    let store = Memory::default();
    let begin = Instant::now();
    instance(&store, "a").acquired().await.unwrap();
    assert_eq!((store.holder().as_str(), begin.elapsed()), ("a", Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_within_the_waiting_period() {
    let store = Memory::default();
    let (a, b) = (instance(&store, "a"), instance(&store, "b"));
    a.acquired().await.unwrap();
    let waiting = b.acquired();
    tokio::pin!(waiting);
    tokio::select! {
        _ = &mut waiting => panic!("two holders"),
        () = sleep(Duration::from_millis(5500)) => a.release().await,
    }
    let released = Instant::now();
    waiting.await.unwrap();
    assert_eq!(store.holder(), "b");
    assert!(released.elapsed() <= WAITING_PERIOD);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_an_instance_that_was_killed_is_taken_after_its_term_and_not_before() {
    let store = Memory::default();
    instance(&store, "a").acquired().await.unwrap();
    let begin = Instant::now();
    instance(&store, "b").acquired().await.unwrap();
    assert!((TERM..=TERM + WAITING_PERIOD).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    assert_eq!(store.0.lock().unwrap().record.as_ref().unwrap().spec.as_ref().unwrap().lease_transitions, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_renewed_is_never_taken() {
    let store = Memory::default();
    let (a, b) = (instance(&store, "a"), instance(&store, "b"));
    a.acquired().await.unwrap();
    tokio::select! {
        error = a.lost() => panic!("{error}"),
        _ = b.acquired() => panic!("two holders"),
        () = sleep(TERM * 20) => {}
    }
    assert_eq!(store.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn of_two_that_want_it_at_the_same_time_one_has_it() {
    let store = Memory::default();
    instance(&store, "old").acquired().await.unwrap();
    let (a, b) = (instance(&store, "a"), instance(&store, "b"));
    let (mut seen_by_a, mut seen_by_b) = (None, None);
    let record = store.read().await.unwrap().unwrap();
    for seen in [&mut seen_by_a, &mut seen_by_b] {
        assert!(!is_free(&record, seen, "a or b", Instant::now()));
    }
    tokio::time::advance(TERM).await;
    // Both have read the same record, and write.
    assert!(is_free(&record, &mut seen_by_a, "a", Instant::now()));
    assert!(is_free(&record, &mut seen_by_b, "b", Instant::now()));
    store.replace(&a.taken(&record)).await.unwrap();
    assert!(is_conflict(&store.replace(&b.taken(&record)).await.unwrap_err()));
    assert_eq!(store.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_stops_before_another_may_begin() {
    for fault in [|inner: &mut Inner| inner.failing = Some(500), |inner: &mut Inner| inner.hanging = true] {
        let store = Memory::default();
        let a = instance(&store, "a");
        a.acquired().await.unwrap();
        let begin = Instant::now();
        store.set(fault);
        assert!(matches!(a.lost().await, LeaseError::NotRenewed(_)));
        assert!(begin.elapsed() <= RENEWAL_DEADLINE, "{:?}", begin.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_outlasts_one_failed_renewal() {
    let store = Memory::default();
    let a = instance(&store, "a");
    a.acquired().await.unwrap();
    let lost = a.lost();
    tokio::pin!(lost);
    for failing in [Some(500), None] {
        store.set(|inner| inner.failing = failing);
        tokio::select! {
            error = &mut lost => panic!("{error}"),
            () = sleep(RENEWAL_PERIOD + Duration::from_millis(1)) => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_took_is_lost() {
    let store = Memory::default();
    let (a, b) = (instance(&store, "a"), instance(&store, "b"));
    a.acquired().await.unwrap();
    let record = store.read().await.unwrap().unwrap();
    store.replace(&b.taken(&record)).await.unwrap();
    assert!(matches!(a.lost().await, LeaseError::Taken(holder) if holder == "b"));
    a.release().await;
    assert_eq!(store.holder(), "b", "what another holds is not released");
}

#[tokio::test(start_paused = true)]
async fn missing_permissions_end_the_wait_and_other_failures_do_not() {
    let store = Memory::default();
    store.set(|inner| inner.failing = Some(403));
    assert!(matches!(instance(&store, "a").acquired().await, Err(LeaseError::Forbidden(_))));
    store.set(|inner| inner.failing = Some(500));
    let a = instance(&store, "a");
    let waiting = a.acquired();
    tokio::pin!(waiting);
    tokio::select! {
        _ = &mut waiting => panic!("nothing to be had"),
        () = sleep(Duration::from_secs(60)) => store.set(|inner| inner.failing = None),
    }
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_instance_takes_up_its_own_lease_after_a_restart() {
    let store = Memory::default();
    instance(&store, "a").acquired().await.unwrap();
    let begin = Instant::now();
    instance(&store, "a").acquired().await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
}
