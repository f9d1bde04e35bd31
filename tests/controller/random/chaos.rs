//! What happens to an operator's requests: in between others act, some are refused, some answers are lost. Watches are cut, and
//! some are told that what they ask for is too old. The API server is the real one, whatever comes through.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Uri};
use kube::client::Body;

use super::Stage;
use super::dice::Dice;
use crate::controller::faults::{Fate, Fault};

/// One operator's requests.
#[derive(Clone)]
pub(super) struct Chaos(Arc<Inner>);

struct Inner {
    dice: Mutex<Dice>,
    mode: AtomicU8,
    /// The namespace of the object that is worked on; none while the operator chooses its objects itself.
    namespace: Mutex<Option<String>>,
    trespasses: Mutex<Vec<String>>,
    stage: OnceLock<Weak<Stage>>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing.
    Calm,
    /// Watches are cut.
    Cuts,
    /// Everything.
    Rage,
}

const CONFLICT: Fate = Fate::Refused(409, "Conflict");
const THROTTLED: Fate = Fate::Refused(429, "TooManyRequests");
/// etcd has no leader.
const UNAVAILABLE: Fate = Fate::Refused(503, "ServiceUnavailable");

impl Chaos {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Inner {
            dice: Mutex::new(Dice::new(seed)),
            mode: AtomicU8::new(Mode::Rage as u8),
            namespace: Mutex::default(),
            trespasses: Mutex::default(),
            stage: OnceLock::new(),
        }))
    }

    /// Between this operator's requests this stage goes on.
    pub(super) fn on(&self, stage: &Arc<Stage>) {
        let _ = self.0.stage.set(Arc::downgrade(stage));
    }

    pub(super) fn set(&self, mode: Mode) {
        self.0.mode.store(mode as u8, Ordering::SeqCst);
    }

    pub(super) fn work_in(&self, namespace: Option<&str>) {
        *self.0.namespace.lock().unwrap() = namespace.map(str::to_owned);
    }

    /// Requests that were about another namespace than their object's.
    pub(super) fn trespasses(&self) -> Vec<String> {
        self.0.trespasses.lock().unwrap().clone()
    }

    fn is(&self, mode: Mode) -> bool {
        self.0.mode.load(Ordering::SeqCst) == mode as u8
    }

    fn notice(&self, request: &Request<Body>) {
        let path = request.uri().path();
        let named = path.split_once("/namespaces/").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
        if let (Some(named), Some(own)) = (named, self.0.namespace.lock().unwrap().as_deref())
            && named != own
        {
            self.0.trespasses.lock().unwrap().push(format!("{} {path}, for an object of {own}", request.method()));
        }
        if request.method() != Method::GET
            && let Some(stage) = self.0.stage.get().and_then(Weak::upgrade)
        {
            stage.note(&format!("  {} {path}", request.method()));
        }
    }

    fn fate(&self, request: &Request<Body>) -> Fate {
        let mut dice = self.0.dice.lock().unwrap();
        if !self.is(Mode::Rage) || is_watch(request.uri()) || !dice.one_in(16) {
            return Fate::Answered;
        }
        let is_read = request.method() == Method::GET;
        let fates: &[Fate] = if is_read {
            &[THROTTLED, UNAVAILABLE, Fate::Lost]
        } else {
            &[CONFLICT, THROTTLED, Fate::Lost, Fate::AnswerLost, Fate::AnswerLost]
        };
        *dice.pick(fates).unwrap()
    }

    /// A watch ends after a moment, one in four is told that its version is too old: both by the API server itself.
    fn cut(&self, request: &mut Request<Body>) {
        if self.is(Mode::Calm) || !is_watch(request.uri()) {
            return;
        }
        let mut dice = self.0.dice.lock().unwrap();
        let (seconds, is_too_old) = (1 + dice.below(3), dice.one_in(4));
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
            Some(("timeoutSeconds", _)) => format!("timeoutSeconds={seconds}"),
            Some(("resourceVersion", _)) if is_too_old => "resourceVersion=1".to_owned(),
            _ => parameter.to_owned(),
        });
        let uri: Uri = format!("{path}?{}", parameters.collect::<Vec<_>>().join("&")).parse().unwrap();
        *request.uri_mut() = uri;
    }

    /// Whether others act before the next request.
    fn is_interrupted(&self) -> Option<Arc<Stage>> {
        let is_time = self.is(Mode::Rage) && self.0.dice.lock().unwrap().one_in(10);
        if is_time && self.0.namespace.lock().unwrap().is_some() { self.0.stage.get()?.upgrade() } else { None }
    }
}

fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|parameter| parameter.starts_with("watch=")))
}

impl Fault for Chaos {
    fn meet(&self, request: &mut Request<Body>) -> BoxFuture<'static, Fate> {
        if request.uri().path() == "/version" {
            // The run itself asks.
            return futures::future::ready(Fate::Answered).boxed();
        }
        self.notice(request);
        self.cut(request);
        let (fate, others) = (self.fate(request), self.is_interrupted());
        async move {
            if let Some(stage) = others {
                stage.interrupt().await;
            }
            fate
        }
        .boxed()
    }
}
