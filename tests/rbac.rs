//! The operator may do what its steps and reads need, and nothing else.

#[cfg(test)]
mod rbac {
    use std::collections::BTreeSet;

    use doppel::model::copy_trigger::Answer;
    use doppel::model::mover::Listen;
    use doppel::model::observed::{Claimed, Privilege};
    use doppel::model::pod::{PodSettings, Verbosity};
    use doppel::model::population::{ClaimShape, Standing, Upkeep};
    use doppel::model::replication::{Lifetime, Pace, VolumeMode};
    use doppel::model::step::fill::{FillStep, NewPrime, Seen, SeenImage};
    use doppel::model::step::{
        Access, Doomed, Ending, MountedSecret, MoverRun, NewClaim, NewService, NewSnapshot, Origin, Step,
    };
    use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
    use serde::Deserialize as _;

    /// What is read (`replication/observe.rs`), watched (`operator/watches.rs`), and written beside the steps: statuses and
    /// events. Secrets are read one by one; a pod's log is never read.
    const READS: &[(&str, &str, &[&str])] = &[
        ("volsync.backube", "replicationsources", &["get", "list", "watch"]),
        ("volsync.backube", "replicationdestinations", &["get", "list", "watch"]),
        ("volsync.backube", "replicationsources/status", &["update"]),
        ("volsync.backube", "replicationdestinations/status", &["update"]),
        // Children block their owner's deletion (OwnerReferencesPermissionEnforcement).
        ("volsync.backube", "replicationsources/finalizers", &["update"]),
        ("volsync.backube", "replicationdestinations/finalizers", &["update"]),
        ("", "persistentvolumeclaims", &["get", "list", "watch"]),
        ("", "services", &["get", "list", "watch"]),
        ("", "serviceaccounts", &["get", "list", "watch"]),
        ("", "namespaces", &["get", "list", "watch"]),
        ("", "pods", &["list", "watch"]),
        ("", "secrets", &["get"]),
        ("", "configmaps", &["get"]),
        ("batch", "jobs", &["get", "list", "watch"]),
        ("snapshot.storage.k8s.io", "volumesnapshots", &["get", "list", "watch"]),
        ("events.k8s.io", "events", &["create", "patch"]),
        // VolSync's, and no other (telemetry/volsync.rs).
        ("coordination.k8s.io", "leases", &["list"]),
        // Claims that are to be filled: `population/observe.rs`, `operator/claims.rs`.
        ("", "persistentvolumes", &["get"]),
        ("storage.k8s.io", "storageclasses", &["get", "list", "watch"]),
        // A prime blocks its claim's deletion (OwnerReferencesPermissionEnforcement).
        ("", "persistentvolumeclaims/finalizers", &["update"]),
        // `population/offer.rs`, which has a step of its own: it is about no claim.
        ("populator.storage.k8s.io", "volumepopulators", &["create", "patch"]),
        ("apiextensions.k8s.io", "customresourcedefinitions", &["list", "watch"]),
        // Who scrapes (`telemetry/access.rs`).
        ("authentication.k8s.io", "tokenreviews", &["create"]),
        ("authorization.k8s.io", "subjectaccessreviews", &["create"]),
    ];

    type Rule = (String, String, String);

    fn needed() -> BTreeSet<Rule> {
        let fill_steps = every_fill_step().into_iter().flat_map(|step| step.access());
        let steps = every_step().into_iter().flat_map(|step| step.access()).chain(fill_steps);
        let steps = steps.map(|Access { group, resource, verb }| (group, resource, verb));
        let reads =
            READS.iter().flat_map(|(group, resource, verbs)| verbs.iter().map(move |verb| (*group, *resource, *verb)));
        steps
            .chain(reads)
            .map(|(group, resource, verb)| (group.to_owned(), resource.to_owned(), verb.to_owned()))
            .collect()
    }

    fn granted() -> BTreeSet<Rule> {
        let mut granted = BTreeSet::new();
        for rule in rules() {
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    granted.extend(rule.verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
                }
            }
        }
        granted
    }

    /// Of all ClusterRoles.
    fn rules() -> Vec<PolicyRule> {
        let mut rules = Vec::new();
        for document in serde_yaml_ng::Deserializer::from_str(include_str!("../deploy/rbac.yaml")) {
            let value = serde_yaml_ng::Value::deserialize(document).unwrap();
            if value["kind"] == "ClusterRole" {
                let role: ClusterRole = serde_yaml_ng::from_value(value).unwrap();
                rules.extend(role.rules.into_iter().flatten());
            }
        }
        rules
    }

    #[test]
    fn the_cluster_role_holds_exactly_what_steps_and_reads_need() {
        let (needed, granted) = (needed(), granted());
        let missing: Vec<_> = needed.difference(&granted).collect();
        let unused: Vec<_> = granted.difference(&needed).collect();
        assert!(missing.is_empty() && unused.is_empty(), "missing: {missing:#?}\nunused: {unused:#?}");
    }

    #[test]
    fn of_definitions_only_the_one_of_populators_may_be_looked_at() {
        let rule = rules().into_iter().find(|rule| rule.api_groups == Some(vec!["apiextensions.k8s.io".to_owned()]));
        let names = rule.unwrap().resource_names.unwrap();
        assert_eq!(names, [doppel::resources::populator::CRD]);
    }

    #[test]
    fn secrets_cannot_be_listed_and_nothing_is_granted_by_wildcard() {
        for (group, resource, verb) in granted() {
            assert!(![&group, &resource, &verb].contains(&&"*".to_owned()), "{group} {resource} {verb}");
            assert_ne!(resource, "pods/log");
            assert!(resource != "secrets" || matches!(verb.as_str(), "get" | "create"), "secrets {verb}");
            assert!(
                !matches!(verb.as_str(), "escalate" | "bind" | "impersonate" | "deletecollection"),
                "{resource} {verb}"
            );
        }
    }

    /// One of each. `place` does not compile when a variant is missing there.
    fn every_step() -> Vec<Step> {
        let name = String::new;
        let doomed = || Doomed { name: name(), uid: name() };
        let request = serde_json::from_value(serde_json::json!({"volume": "/data", "work": {
            "mover": "rsync-tls-destination", "port": 8000, "keyFile": "/keys/psk.txt", "emptySource": "refuse"}}));
        let run = MoverRun {
            job: name(),
            mover: "rsync-tls",
            pod_labels: vec![],
            claim: name(),
            mode: VolumeMode::Filesystem,
            read_only: false,
            secret: MountedSecret { name: name(), path: "/keys" },
            certificates: None,
            cache: None,
            account: name(),
            pod: PodSettings::default(),
            privilege: Privilege::Unprivileged,
            request: request.unwrap(),
            verbosity: Verbosity::Normal,
            pull_secrets: vec![],
            placement: None,
            pace: Pace::Running,
            receiver: None,
            iteration: "2026-11-23T10:00:00Z".parse().unwrap(),
            attempt: 1,
            generation: None,
        };
        let listen = Listen { service_type: name(), annotations: vec![] };
        let claim = NewClaim {
            name: name(),
            origin: Origin::Empty,
            capacity: name(),
            storage_class: None,
            access_modes: vec![],
            mode: VolumeMode::Filesystem,
            lifetime: Lifetime::Kept,
            iteration: None,
            answers: None,
        };
        let steps = vec![
            Step::CreateKey { secret: name() },
            Step::EnsureAccount { name: name() },
            Step::EnsureService(NewService { name: name(), selector: vec![], port: ("rsync-tls", 8000), listen }),
            Step::CreateClaim(claim),
            Step::GrowClaim { name: name(), capacity: name() },
            Step::TakeSnapshot(NewSnapshot {
                name: name(),
                claim: name(),
                class: None,
                lifetime: Lifetime::Kept,
                iteration: None,
                answers: None,
            }),
            Step::StartMover(Box::new(run)),
            Step::SetPace { job: name(), pace: Pace::Running },
            Step::StopMover { job: doomed(), ending: Ending::Finished },
            Step::DeleteClaim(doomed()),
            Step::DeleteSnapshot { snapshot: doomed(), resource_version: name() },
            Step::ReleaseSnapshot { name: name(), resource_version: name(), claimed: Claimed::Free },
            Step::AnswerCopyTrigger { claim: name(), answer: Answer::InProgress },
            Step::ForgetNotedImage { claim: name() },
            Step::CopyPullSecret { original: name(), copy: name() },
        ];
        let places: BTreeSet<_> = steps.iter().map(place).collect();
        assert_eq!(places.len(), 15, "one of each");
        steps
    }

    /// A number for each variant; a new one does not compile until it is given one, and then fails until it is listed.
    fn place(step: &Step) -> usize {
        match step {
            Step::CreateKey { .. } => 0,
            Step::EnsureAccount { .. } => 1,
            Step::EnsureService(_) => 2,
            Step::CreateClaim(_) => 3,
            Step::GrowClaim { .. } => 4,
            Step::TakeSnapshot(_) => 5,
            Step::StartMover(_) => 6,
            Step::SetPace { .. } => 7,
            Step::StopMover { .. } => 8,
            Step::DeleteClaim(_) => 9,
            Step::DeleteSnapshot { .. } => 10,
            Step::ReleaseSnapshot { .. } => 11,
            Step::AnswerCopyTrigger { .. } => 12,
            Step::ForgetNotedImage { .. } => 13,
            Step::CopyPullSecret { .. } => 14,
        }
    }

    /// One of each, as above.
    fn every_fill_step() -> Vec<FillStep> {
        let name = String::new;
        let seen = || Seen { name: name(), resource_version: name() };
        let standing = || Standing { uid: name(), upkeep: Upkeep::Ours, has_other_owners: false };
        let image = || SeenImage { name: name(), standing: standing() };
        let doomed = || Doomed { name: name(), uid: name() };
        let shape = ClaimShape {
            resources: serde_json::Value::Null,
            request: None,
            access_modes: vec![],
            storage_class: None,
            attributes_class: None,
            mode: VolumeMode::Filesystem,
        };
        let steps = vec![
            FillStep::HoldImage { image: image(), holders: BTreeSet::new() },
            FillStep::LetImageGo(image()),
            FillStep::DeleteImage { image: doomed(), resource_version: name() },
            FillStep::CreatePrime(NewPrime { name: name(), shape, origin: name(), node: None }),
            FillStep::PlacePrime { prime: doomed(), node: name() },
            FillStep::HandOver { volume: seen(), claim_version: name(), origin: name() },
            FillStep::DeletePrime(doomed()),
        ];
        let places: BTreeSet<_> = steps.iter().map(fill_place).collect();
        assert_eq!(places.len(), 7, "one of each");
        steps
    }

    fn fill_place(step: &FillStep) -> usize {
        match step {
            FillStep::HoldImage { .. } => 0,
            FillStep::LetImageGo(_) => 1,
            FillStep::DeleteImage { .. } => 2,
            FillStep::CreatePrime(_) => 3,
            FillStep::PlacePrime { .. } => 4,
            FillStep::HandOver { .. } => 5,
            FillStep::DeletePrime(_) => 6,
        }
    }
}
