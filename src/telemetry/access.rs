//! Who may read the metrics: whoever the API server knows by the token and lets `get` the path `/metrics`.
//!
//! Two questions are put to the API server, a TokenReview and a SubjectAccessReview, and the answer is remembered for a short
//! time. No other right is looked at, and nothing is decided here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::Semaphore;

/// The path that is asked about, and served.
pub const METRICS_PATH: &str = "/metrics";

/// How long a yes holds: two scrapes in a row usually cost one question. A right that is withdrawn is gone after that.
const ALLOWED_FOR: Duration = Duration::from_secs(60);
/// How long a no holds. Short, so that a new binding is not waited for.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Most answers remembered. One for each Prometheus is needed; the rest are strangers, and make room for each other.
const MOST_ANSWERS: usize = 64;
/// No longer token is asked about. Those of service accounts have about 1 KiB.
const LONGEST_TOKEN: usize = 8 * 1024;
/// Most questions under way at a time: strangers cannot make this operator flood the API server.
const MOST_QUESTIONS: usize = 4;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Read the metrics.
    Allowed,
    /// Nothing: nobody is known by it.
    Unknown,
    /// Nothing here: its owner is known, and lacks the right.
    Forbidden,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The API server could not be asked, or does not let this operator ask.
    #[error("asking the API server who may read {METRICS_PATH}: {0}")]
    Api(#[from] kube::Error),
    /// It did not answer.
    #[error("asking the API server who may read {METRICS_PATH}: no answer within {} s", ANSWER_WITHIN.as_secs())]
    Silence,
}

/// Asks the API server, and remembers.
pub struct Access {
    client: Client,
    questions: Semaphore,
    answers: Mutex<Answers>,
}

/// Remembered answers. The tokens are secret: this is never printed.
#[derive(Default)]
struct Answers(HashMap<String, (Verdict, Instant)>);

impl Access {
    /// Asks by this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, questions: Semaphore::new(MOST_QUESTIONS), answers: Mutex::default() }
    }

    /// What this bearer token may do.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn judge(&self, token: &str) -> Result<Verdict, AccessError> {
        if token.is_empty() || token.len() > LONGEST_TOKEN {
            return Ok(Verdict::Unknown);
        }
        if let Some(verdict) = self.lock().get(token, Instant::now()) {
            return Ok(verdict);
        }
        let asked = async {
            // Closed never; then nobody would be let in.
            let Ok(_turn) = self.questions.acquire().await else { return Ok(Verdict::Unknown) };
            self.ask(token).await
        };
        let verdict = tokio::time::timeout(ANSWER_WITHIN, asked).await.map_err(|_| AccessError::Silence)??;
        self.lock().put(token, verdict, Instant::now());
        Ok(verdict)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, token: &str) -> kube::Result<Verdict> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: None };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviewed = Api::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        let status = reviewed.status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(Verdict::Unknown);
        };
        let review = SubjectAccessReview { spec: may_read(user), ..SubjectAccessReview::default() };
        let reviewed = Api::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        let is_allowed = reviewed.status.is_some_and(|status| status.allowed && status.denied != Some(true));
        Ok(if is_allowed { Verdict::Allowed } else { Verdict::Forbidden })
    }
}

fn may_read(user: UserInfo) -> SubjectAccessReviewSpec {
    let attributes = NonResourceAttributes { path: Some(METRICS_PATH.to_owned()), verb: Some("get".to_owned()) };
    SubjectAccessReviewSpec {
        user: user.username,
        groups: user.groups,
        uid: user.uid,
        extra: user.extra,
        non_resource_attributes: Some(attributes),
        resource_attributes: None,
    }
}

impl Answers {
    fn get(&self, token: &str, now: Instant) -> Option<Verdict> {
        let (verdict, until) = self.0.get(token)?;
        (now < *until).then_some(*verdict)
    }

    fn put(&mut self, token: &str, verdict: Verdict, now: Instant) {
        self.0.retain(|_, (_, until)| now < *until);
        if self.0.len() >= MOST_ANSWERS {
            // Refusals go first: a flood of strangers must not make Prometheus ask again each time.
            let victim = self.0.iter().min_by_key(|(_, (verdict, until))| (*verdict == Verdict::Allowed, *until));
            if let Some(token) = victim.map(|(token, _)| token.clone()) {
                self.0.remove(&token);
            }
        }
        let holds = if verdict == Verdict::Allowed { ALLOWED_FOR } else { REFUSED_FOR };
        self.0.insert(token.to_owned(), (verdict, now + holds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_for_a_short_time() {
        let now = Instant::now();
        let mut answers = Answers::default();
        for (verdict, holds) in
            [(Verdict::Allowed, ALLOWED_FOR), (Verdict::Unknown, REFUSED_FOR), (Verdict::Forbidden, REFUSED_FOR)]
        {
            answers.put("token", verdict, now);
            assert_eq!(answers.get("token", now + holds - Duration::from_millis(1)), Some(verdict));
            assert_eq!(answers.get("token", now + holds), None);
            assert_eq!(answers.get("other", now), None);
        }
    }

    #[test]
    fn strangers_make_room_for_each_other_and_displace_nobody_who_is_allowed() {
        let now = Instant::now();
        let mut answers = Answers::default();
        answers.put("prometheus", Verdict::Allowed, now);
        for number in 0..10 * MOST_ANSWERS {
            answers.put(&format!("stranger {number}"), Verdict::Unknown, now + Duration::from_secs(1));
        }
        assert_eq!(answers.0.len(), MOST_ANSWERS);
        assert_eq!(answers.get("prometheus", now + Duration::from_secs(1)), Some(Verdict::Allowed));
    }
}
