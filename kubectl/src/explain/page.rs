//! PURE: the page that `explain` prints.

use jiff::Timestamp;

use super::advice;
use super::child::{Child, Warning};
use super::facts::{Facts, Found};
use crate::object::{Kind, Method, Object};
use crate::progress;
use crate::state::{self, Server, State};
use crate::text::{age, moment, one_line, shortened, words};

/// Wide enough for every label.
const LABEL: usize = 12;
/// Warnings come again and again about the same thing; the latest tell it.
const MOST_WARNINGS: usize = 5;
/// Old copies that an operator left are counted, not listed.
const MOST_COPIES: usize = 6;
/// Characters of a warning: what a driver says can be a page of its own.
const MOST_NOTE: usize = 400;

/// The page.
pub(super) fn render(facts: &Facts, now: Timestamp) -> String {
    let object = &facts.object;
    let state = state::of(object);
    let mut page = Page(format!("{object}: {}, {}\n\n", object.method, server(state.server)));
    page.line("Doing", doing(&state, now));
    // Doppel's message has the failure in it, which is told below.
    if state::failure(object).is_none_or(|failure| !state.message.contains(&failure.message)) {
        page.line("", state.message.clone());
    }
    runs(&mut page, object, now);
    failure(&mut page, object, now);
    connection(&mut page, facts, now);
    parts(&mut page, facts, now);
    for warning in facts.warnings.iter().take(MOST_WARNINGS) {
        page.line("Warning", told(warning, now));
    }
    for unread in &facts.unread {
        page.line("Not read", format!("{unread}, so that is left out here"));
    }
    page.0.push('\n');
    for advice in advice::of(facts, &state) {
        page.line("To do", advice);
    }
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, label: &str, text: String) {
        let text = if text.is_empty() { "-".to_owned() } else { text };
        self.0.push_str(&format!("{label:<LABEL$}{text}\n"));
    }
}

fn server(server: Server) -> &'static str {
    match server {
        Server::Doppel => "served by Doppel",
        Server::VolSync => "served by VolSync, which says less of it than Doppel would",
        Server::Provider => "left to a provider outside of Doppel and VolSync",
        Server::Nobody => "served by nobody so far",
    }
}

fn doing(state: &State, now: Timestamp) -> String {
    let what = words(&state.reason);
    match state.since {
        Some(since) => format!("{what}, since {}", moment(since, now)),
        None => what,
    }
}

fn runs(page: &mut Page, object: &Object, now: Timestamp) {
    let sync = object.sync();
    if let Some(current) = &sync.last_sync_start_time {
        let manual = sync.current_sync.as_ref().and_then(|current| current.manual.as_deref());
        let asked = manual.map(|manual| format!(", for spec.trigger.manual {:?}", one_line(manual)));
        page.line("Run", format!("began {}{}", moment(current.0, now), asked.unwrap_or_default()));
    }
    if let Some(progress) = progress::of(object) {
        page.line("Progress", progress::line(&progress));
    }
    let took = sync.last_sync_duration.as_deref().map(|took| format!("; it took {}", one_line(took)));
    let last = sync.last_sync_time.map(|time| moment(time.0, now));
    page.line("Last sync", format!("{}{}", last.unwrap_or_else(|| "never".to_owned()), took.unwrap_or_default()));
    page.line("Next", next(object, now));
}

/// When the next synchronization begins, or what makes it begin.
fn next(object: &Object, now: Timestamp) -> String {
    let begins = match (state::next(object), object.manual(), object.schedule()) {
        (Some(time), _, _) => moment(time, now),
        (None, Some(_), _) => "when spec.trigger.manual has a new value".to_owned(),
        (None, None, Some(schedule)) => format!("by schedule: {}", one_line(schedule)),
        (None, None, None) => "when the present one has ended".to_owned(),
    };
    match (object.manual(), object.schedule()) {
        (Some(_), Some(_)) => format!("{begins}; the schedule is not in force while spec.trigger.manual is set"),
        _ => begins,
    }
}

fn failure(page: &mut Page, object: &Object, now: Timestamp) {
    let Some(failure) = state::failure(object) else { return };
    let count = state::failures(object).filter(|count| *count > 0);
    let count = count.map(|count| format!("{count} in a row, the latest "));
    let at = failure.time.map_or_else(String::new, |time| moment(time, now));
    let fault = failure.fault.map(|fault| format!(" (fault: {fault})"));
    let head = format!("{}{at}{}", count.unwrap_or_default(), fault.unwrap_or_default());
    let lines = [head.trim().to_owned(), failure.message];
    let lines = lines.into_iter().filter(|line| !line.is_empty());
    for (label, line) in ["Failed", ""].into_iter().zip(lines) {
        page.line(label, line);
    }
    if let Some(left_out) = failure.left_out.filter(|left_out| *left_out > 0) {
        page.line("", format!("left out: {left_out} files, directories or the like"));
    }
    let attempt = object.sync().current_sync.and_then(|current| current.next_attempt_time);
    if let Some(attempt) = attempt {
        page.line("", format!("next attempt {}", moment(attempt.0, now)));
    }
}

/// How data gets from one side to the other.
fn connection(page: &mut Page, facts: &Facts, now: Timestamp) {
    let object = &facts.object;
    let ends = &object.ends;
    let port = ends.port.map(|port| format!(", port {port}")).unwrap_or_default();
    match (facts.object.kind, &ends.address) {
        (Kind::Source, Some(address)) => page.line("Connects to", format!("{}{port}", one_line(address))),
        (Kind::Destination, Some(address)) => page.line("Address", format!("{}{port}", one_line(address))),
        (Kind::Destination, None) if !facts.services.is_empty() => page.line("Address", "none yet".to_owned()),
        (_, None) => {}
    }
    for service in &facts.services {
        page.line("Service", part(service, now));
    }
    if let Some(secret) = &ends.key_secret {
        let there = match facts.key {
            Found::There(()) => "",
            Found::Missing => ", which does not exist",
            Found::Unknown => ", not looked at",
        };
        let label = if object.method == Method::One("restic") { "Repository" } else { "Key" };
        page.line(label, format!("Secret {}{there}", one_line(secret)));
    }
}

fn parts(page: &mut Page, facts: &Facts, now: Timestamp) {
    let volume = match facts.object.kind {
        Kind::Source => "Copies",
        Kind::Destination => "Fills",
    };
    match (&facts.users_claim, &facts.object.ends.claim) {
        (Found::There(claim), _) => page.line(volume, part(claim, now)),
        (Found::Missing, Some(name)) => {
            page.line(volume, format!("PersistentVolumeClaim {}, which does not exist", one_line(name)));
        }
        (Found::Unknown, Some(name)) => page.line(volume, format!("PersistentVolumeClaim {}", one_line(name))),
        (_, None) => {}
    }
    for child in facts.jobs.iter().chain(&facts.pods) {
        page.line("Mover", part(child, now));
    }
    let label = match facts.object.kind {
        Kind::Source => "Copy",
        Kind::Destination => "Volume",
    };
    let image = facts.object.ends.image.as_ref().map(|(_, name)| name.as_str());
    let (images, copies): (Vec<&Child>, Vec<&Child>) =
        facts.claims.iter().chain(&facts.snapshots).partition(|child| Some(child.name.as_str()) == image);
    for child in copies.iter().take(MOST_COPIES) {
        page.line(label, part(child, now));
    }
    if let Some(more) = copies.len().checked_sub(MOST_COPIES).filter(|more| *more > 0) {
        page.line("", format!("and {more} more"));
    }
    match (images.first(), &facts.object.ends.image) {
        (Some(image), _) => page.line("Image", part(image, now)),
        (None, Some((kind, name))) => page.line("Image", format!("{} {}", one_line(kind), one_line(name))),
        (None, None) => {}
    }
}

fn part(child: &Child, now: Timestamp) -> String {
    let since = child.since.map(|since| format!(", {}", age(since, now))).unwrap_or_default();
    let trouble = child.trouble.as_ref().map(|trouble| format!(": {}", shortened(trouble, MOST_NOTE)));
    format!("{} {}: {}{since}{}", child.kind, child.name, child.state, trouble.unwrap_or_default())
}

fn told(warning: &Warning, now: Timestamp) -> String {
    let at = warning.at.map_or_else(|| "some time".to_owned(), |at| age(at, now));
    let count = if warning.count > 1 { format!(", {} times", warning.count) } else { String::new() };
    let note = shortened(&warning.note, MOST_NOTE);
    format!("{} of {}, {at} ago{count}: {note}", warning.reason, warning.about)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::explain::child;
    use crate::fixtures;

    /// An object, and nothing that could be seen beside it.
    fn bare(fixture: &str) -> Facts {
        Facts {
            object: fixtures::object(fixture),
            jobs: Vec::new(),
            pods: Vec::new(),
            services: Vec::new(),
            claims: Vec::new(),
            snapshots: Vec::new(),
            users_claim: Found::Unknown,
            key: Found::Unknown,
            warnings: Vec::new(),
            unread: Vec::new(),
        }
    }

    fn read<K: serde::de::DeserializeOwned>(name: &str, mut object: Value) -> K {
        object["metadata"] = json!({"name": name, "creationTimestamp": "2026-11-24T09:59:00Z"});
        serde_json::from_value(object).unwrap()
    }

    fn claim(name: &str, phase: &str) -> Child {
        let status = json!({"phase": phase, "capacity": {"storage": "20Gi"}});
        Child::from(read::<k8s_openapi::api::core::v1::PersistentVolumeClaim>(name, json!({"status": status})))
    }

    fn snapshot(name: &str, status: &Value) -> Child {
        let types = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "status": status});
        child::snapshot(read(name, types))
    }

    #[test]
    fn a_source_that_fails_is_told_from_its_trigger_to_what_to_do() {
        let mut facts = bare("failed");
        facts.users_claim = Found::There(claim("data", "Bound"));
        facts.key = Found::There(());
        facts.claims.push(claim("volsync-failed-src", "Bound"));
        facts.snapshots.push(snapshot("volsync-failed-src", &json!({"readyToUse": true})));
        facts.warnings.push(Warning {
            at: "2026-11-24T09:59:00Z".parse().ok(),
            reason: "TransferFailed".to_owned(),
            about: "ReplicationSource failed".to_owned(),
            note: "attempt 4 failed".to_owned(),
            count: 4,
        });
        check(&facts, include_str!("../../tests/fixtures/explain-failed.txt"));
    }

    #[test]
    fn a_destination_that_waits_is_told_with_where_it_listens() {
        let mut facts = bare("running");
        let service = json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 8000}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}});
        facts
            .services
            .push(read::<k8s_openapi::api::core::v1::Service>("volsync-rsync-tls-dst-running", service).into());
        let job = json!({"status": {"active": 1, "startTime": "2026-11-24T09:57:55Z"}});
        facts.jobs.push(read::<k8s_openapi::api::batch::v1::Job>("volsync-rsync-tls-dst-running", job).into());
        let pod = json!({"spec": {"nodeName": "n1", "containers": []}, "status": {"phase": "Running", "startTime": "2026-11-24T09:57:58Z"}});
        facts.pods.push(read::<k8s_openapi::api::core::v1::Pod>("volsync-rsync-tls-dst-running-x", pod).into());
        facts.claims.push(claim("volsync-running-dst", "Bound"));
        facts.key = Found::There(());
        check(&facts, include_str!("../../tests/fixtures/explain-running.txt"));
    }

    #[test]
    fn an_object_of_volsync_is_told_to_be_one() {
        let mut facts = bare("volsync-failed");
        facts.users_claim = Found::Missing;
        facts.unread.push("you may not list events in namespace \"shop\"".to_owned());
        check(&facts, include_str!("../../tests/fixtures/explain-volsync.txt"));
    }

    #[test]
    fn each_state_has_something_to_do_or_says_that_there_is_nothing() {
        for (fixture, expected) in [
            ("idle", "nothing"),
            ("queued", "nothing: it goes on by itself"),
            ("waiting", "nothing: it goes on by itself"),
            (
                "paused",
                "let it go on: kubectl -n shop patch replicationsources paused --type merge -p '{\"spec\":{\"paused\":false}}'",
            ),
            ("never", "no operator has looked at it"),
            ("volsync-error", "correct what the failure names"),
            ("external", "ask the provider"),
        ] {
            let page = render(&bare(fixture), fixtures::now());
            let advice: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("To do")).map(str::trim).collect();
            assert!(advice.len() == 1 && advice[0].starts_with(expected), "{fixture}: {advice:?}");
        }
    }

    #[test]
    fn what_a_driver_says_leads_to_its_object() {
        let mut facts = bare("waiting");
        facts.snapshots.push(snapshot("volsync-waiting-src", &json!({"error": {"message": "no space in the pool"}})));
        let page = render(&facts, fixtures::now());
        assert!(
            page.contains("VolumeSnapshot volsync-waiting-src: not ready to use yet, 1m: no space in the pool"),
            "{page}"
        );
        assert!(page.contains("kubectl -n shop describe volumesnapshot volsync-waiting-src"), "{page}");
    }

    #[test]
    fn a_key_that_is_missing_comes_first() {
        let mut facts = bare("failed");
        facts.key = Found::Missing;
        let page = render(&facts, fixtures::now());
        assert!(page.contains("Key         Secret data-psk, which does not exist"), "{page}");
        assert!(
            page.contains("\n\nTo do       Secret data-psk with the key does not exist: copy the Secret"),
            "{page}"
        );
    }

    #[test]
    fn a_generated_key_that_is_missing_is_not_looked_for_in_the_spec() {
        let mut facts = bare("running");
        facts.key = Found::Missing;
        let page = render(&facts, fixtures::now());
        assert!(
            page.contains("a new one is made with the next synchronization")
                && !page.contains("spec.rsyncTLS.keySecret"),
            "{page}"
        );
    }

    #[test]
    fn of_a_mover_that_says_so_it_is_told_how_far_it_is() {
        let page = render(&bare("transferring"), fixtures::now());
        assert!(page.contains("\nProgress    transferring: 45 %, 9.00 GiB of 20.00 GiB, "), "{page}");
    }

    #[test]
    fn of_many_copies_and_warnings_the_first_are_listed() {
        let mut facts = bare("idle");
        facts.claims = (0..9).map(|number| claim(&format!("copy-{number}"), "Bound")).collect();
        let warning =
            Warning { at: None, reason: "R".to_owned(), about: "Pod p".to_owned(), note: "n".to_owned(), count: 1 };
        facts.warnings = vec![warning; 9];
        let page = render(&facts, fixtures::now());
        assert!(page.contains("copy-5") && !page.contains("copy-6") && page.contains("and 3 more"), "{page}");
        assert_eq!(page.matches("Warning").count(), MOST_WARNINGS);
    }

    #[test]
    fn nothing_that_moves_the_cursor_gets_to_the_page() {
        let mut facts = bare("idle");
        facts.object.ends.address = Some("\u{1b}[2J".to_owned());
        facts.object.ends.image = Some(("\u{1b}K".to_owned(), "\u{202e}x".to_owned()));
        facts.object.trigger.schedule = Some("\u{1b}[1A".to_owned());
        if let Some(status) = &mut facts.object.status {
            status.last_sync_duration = Some("\u{1b}c".to_owned());
            status.next_sync_time = None;
        }
        let page = render(&facts, fixtures::now());
        assert!(!page.contains(['\u{1b}', '\u{202e}']), "{page:?}");
    }

    fn check(facts: &Facts, expected: &str) {
        let page = render(facts, fixtures::now());
        assert_eq!(page, expected, "\n{page}");
    }
}
