//! Pods as they are born: within Pod Security Standard "restricted" unless the namespace allows privilege.

mod constraints;

use doppel_contract::{EmptySource, Repository, Request, ResticBackup, Retain, RsyncTlsDestination, Volume, Work};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::json;

use super::build;
use crate::model::mover::{Certificates, Holder};
use crate::model::observed::Privilege;
use crate::model::pod::{Content, ExtraVolume, MoverImage, Need, Placement, PodSettings, Verbosity};
use crate::model::replication::{Owner, Pace, Role, VolumeMode};
use crate::model::step::{MountedSecret, MoverRun};

fn run(privilege: Privilege, pod: PodSettings) -> MoverRun {
    MoverRun {
        job: "volsync-rsync-tls-dst-x".to_owned(),
        mover: "rsync-tls",
        pod_labels: vec![("app.kubernetes.io/name".to_owned(), "dst-x".to_owned())],
        claim: "claim".to_owned(),
        mode: VolumeMode::Filesystem,
        read_only: false,
        secret: MountedSecret { name: "key".to_owned(), path: "/keys" },
        certificates: None,
        cache: None,
        account: "volsync-dst-x".to_owned(),
        pod,
        privilege,
        request: Request {
            volume: Volume::Tree("/data".into()),
            work: Work::RsyncTlsDestination(RsyncTlsDestination {
                port: std::num::NonZeroU16::new(8000).unwrap(),
                key_file: "/keys/psk.txt".into(),
                empty_source: EmptySource::Refuse,
            }),
            deadline_seconds: None,
            progress_port: None,
        },
        verbosity: Verbosity::Normal,
        pull_secrets: vec![],
        placement: None,
        pace: Pace::Running,
        receiver: None,
        iteration: "2026-11-23T10:00:00Z".parse().unwrap(),
        attempt: 1,
        generation: None,
    }
}

fn image() -> MoverImage {
    let proxies = vec![("HTTPS_PROXY", "http://proxy:3128".to_owned())];
    MoverImage { reference: "image:1".to_owned(), namespace: "ns".to_owned(), pull_secrets: vec![], proxies }
}

fn owner() -> Owner {
    Owner { role: Role::Destination, namespace: "ns".into(), name: "x".into(), uid: "u".into() }
}

fn job(privilege: Privilege, pod: PodSettings) -> Job {
    build(&owner(), &run(privilege, pod), &image()).unwrap()
}

fn pod(job: &Job) -> &PodSpec {
    job.spec.as_ref().unwrap().template.spec.as_ref().unwrap()
}

fn container(job: &Job) -> &Container {
    &pod(job).containers[0]
}

/// What "restricted" demands (Kubernetes: "Pod Security Standards"), and what this operator demands beyond it.
#[track_caller]
fn assert_hardened(job: &Job) {
    let pod = pod(job);
    let container = container(job);
    let context = container.security_context.as_ref().unwrap();
    let capabilities = context.capabilities.as_ref().unwrap();
    assert_eq!(context.allow_privilege_escalation, Some(false));
    assert_eq!(context.privileged, Some(false));
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(capabilities.drop.as_deref(), Some(&["ALL".to_owned()][..]));
    assert_eq!(pod.security_context.as_ref().unwrap().seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!((pod.host_network, pod.host_pid, pod.host_ipc), (None, None, None));
    assert!(pod.volumes.iter().flatten().all(|volume| volume.host_path.is_none()));
    assert!(container.resources.as_ref().unwrap().limits.as_ref().is_some_and(|limits| limits.contains_key("memory")));
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert_eq!(job.spec.as_ref().unwrap().backoff_limit, Some(0), "retries are the operator's");
}

fn key_mode(job: &Job) -> i32 {
    let volumes = pod(job).volumes.as_ref().unwrap();
    let keys = volumes.iter().find(|volume| volume.name == "keys").unwrap();
    keys.secret.as_ref().unwrap().default_mode.unwrap()
}

#[test]
fn a_mover_runs_without_privilege_where_nobody_says_otherwise() {
    let job = job(Privilege::Unprivileged, PodSettings::default());
    assert_hardened(&job);
    let context = pod(&job).security_context.as_ref().unwrap();
    assert_eq!(context.run_as_non_root, Some(true));
    assert_eq!((context.run_as_user, context.run_as_group), (Some(65532), Some(65532)));
    assert_eq!(context.fs_group, None, "a group would be given to every file of the volume");
    assert_eq!(container(&job).security_context.as_ref().unwrap().capabilities.as_ref().unwrap().add, None);
}

#[test]
fn what_a_user_says_is_kept_and_what_is_left_open_is_hardened() {
    let settings = PodSettings {
        security_context: Some(json!({"runAsUser": 1234, "fsGroup": 5678})),
        labels: vec![("team".to_owned(), "a".to_owned())],
        resources: Some(json!({"limits": {"memory": "2Gi"}})),
        volumes: vec![ExtraVolume {
            name: "u-a-b".to_owned(),
            mount_path: "/mnt/a/b".to_owned(),
            content: Content::Secret { name: "s".to_owned(), need: Need::Required, source: json!({"secretName": "s"}) },
        }],
        ..PodSettings::default()
    };
    let job = job(Privilege::Unprivileged, settings);
    assert_hardened(&job);
    let context = pod(&job).security_context.as_ref().unwrap();
    assert_eq!((context.run_as_user, context.fs_group, context.run_as_non_root), (Some(1234), Some(5678), Some(true)));
    assert_eq!(container(&job).resources.as_ref().unwrap().limits.as_ref().unwrap()["memory"].0, "2Gi");
    let mounts = container(&job).volume_mounts.as_ref().unwrap();
    assert!(mounts.iter().any(|mount| mount.name == "u-a-b" && mount.mount_path == "/mnt/a/b"), "{mounts:?}");
    let labels = job.spec.as_ref().unwrap().template.metadata.as_ref().unwrap().labels.as_ref().unwrap();
    assert_eq!(labels["team"], "a");
}

#[test]
fn a_mover_that_is_to_log_all_is_told_so_and_does_nothing_else_differently() {
    let run = run(Privilege::Unprivileged, PodSettings::default());
    let normal = build(&owner(), &run, &image()).unwrap();
    let verbose = build(&owner(), &MoverRun { verbosity: Verbosity::Debug, ..run }, &image()).unwrap();
    assert_hardened(&verbose);
    let variable = container(&verbose).env.as_ref().unwrap().last().unwrap();
    assert_eq!((variable.name.as_str(), variable.value.as_deref()), ("DEBUG_MOVER", Some("1")));
    assert_eq!(container(&verbose).command, container(&normal).command);
    assert_eq!(container(&normal).env.as_ref().unwrap().len(), 1);
}

#[test]
fn secrets_for_pulling_the_image_are_named_in_the_pod() {
    let run = run(Privilege::Unprivileged, PodSettings::default());
    assert_eq!(pod(&build(&owner(), &run, &image()).unwrap()).image_pull_secrets, None);
    let job = build(&owner(), &MoverRun { pull_secrets: vec!["s".into()], ..run }, &image()).unwrap();
    assert_eq!(pod(&job).image_pull_secrets.as_ref().unwrap()[0].name, "s");
}

#[test]
fn a_mover_goes_to_the_node_of_its_volume_within_what_the_user_allows() {
    let toleration = json!({"key": "storage", "operator": "Exists"});
    let placement = Placement { node: "n1".into(), tolerations: vec![toleration], pod: "web-0".into() };
    let terms = |affinity: Option<serde_json::Value>| {
        let settings = PodSettings { affinity, ..PodSettings::default() };
        let run = MoverRun { placement: Some(placement.clone()), ..run(Privilege::Unprivileged, settings) };
        let job = build(&owner(), &run, &image()).unwrap();
        assert_eq!(pod(&job).tolerations.as_ref().unwrap()[0].key.as_deref(), Some("storage"));
        let nodes = pod(&job).affinity.clone().unwrap().node_affinity.unwrap();
        serde_json::to_value(nodes.required_during_scheduling_ignored_during_execution.unwrap()).unwrap()
    };
    let node = json!([{"key": "metadata.name", "operator": "In", "values": ["n1"]}]);
    assert_eq!(terms(None), json!({"nodeSelectorTerms": [{"matchFields": node}]}));
    let zone = json!([{"key": "zone", "operator": "In", "values": ["a"]}]);
    let alternatives = json!([{"matchExpressions": zone}, {"matchExpressions": zone}]);
    let given = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": alternatives}}});
    let both = json!({"matchExpressions": zone, "matchFields": node});
    assert_eq!(terms(Some(given)), json!({"nodeSelectorTerms": [both, both]}), "each alternative demands the node");
}

#[test]
fn a_privileged_mover_is_root_with_four_capabilities_and_no_more() {
    let job = job(Privilege::Privileged, PodSettings::default());
    assert_hardened(&job);
    let context = container(&job).security_context.as_ref().unwrap();
    assert_eq!(context.run_as_user, Some(0));
    let added = context.capabilities.as_ref().unwrap().add.clone().unwrap();
    assert_eq!(added, ["DAC_OVERRIDE", "CHOWN", "FOWNER", "SETGID"]);
}

#[test]
fn where_the_cluster_chooses_the_user_a_mover_names_none_but_the_one_that_its_user_names() {
    let job_of_nobody = job(Privilege::Assigned, PodSettings::default());
    assert_hardened(&job_of_nobody);
    let context = pod(&job_of_nobody).security_context.clone().unwrap();
    assert_eq!((context.run_as_user, context.run_as_group, context.fs_group), (None, None, None));
    assert_eq!(context.run_as_non_root, Some(true));
    assert_eq!(container(&job_of_nobody).security_context.as_ref().unwrap().run_as_user, None);
    assert_eq!(key_mode(&job_of_nobody), 0o444, "its group is not known");
    let settings = PodSettings { security_context: Some(json!({"runAsUser": 1234})), ..PodSettings::default() };
    let context = pod(&job(Privilege::Assigned, settings)).security_context.clone().unwrap();
    assert_eq!((context.run_as_user, context.run_as_group), (Some(1234), None));
}

#[test]
fn a_key_can_be_read_by_its_mover_and_by_as_few_as_that_allows() {
    let with = |context| PodSettings { security_context: Some(context), ..PodSettings::default() };
    assert_eq!(key_mode(&job(Privilege::Privileged, PodSettings::default())), 0o400);
    assert_eq!(key_mode(&job(Privilege::Unprivileged, with(json!({"runAsUser": 0})))), 0o400);
    assert_eq!(key_mode(&job(Privilege::Unprivileged, with(json!({"fsGroup": 7})))), 0o400);
    assert_eq!(key_mode(&job(Privilege::Unprivileged, PodSettings::default())), 0o444);
}

#[test]
fn no_secret_is_in_a_pods_environment_or_arguments() {
    let job = job(Privilege::Unprivileged, PodSettings::default());
    let container = container(&job);
    assert!(container.env.iter().flatten().all(|variable| variable.value_from.is_none()));
    assert_eq!(container.command.as_deref(), Some(&["/doppel-mover".to_owned(), "run".to_owned()][..]));
    let request = container.env.as_ref().unwrap()[0].value.clone().unwrap();
    assert_eq!(
        serde_json::from_str::<Request>(&request).unwrap(),
        run(Privilege::Unprivileged, PodSettings::default()).request
    );
}

#[test]
fn a_context_that_is_none_is_refused_with_its_field() {
    let owner = Owner { role: Role::Destination, namespace: "ns".into(), name: "x".into(), uid: "u".into() };
    let settings = PodSettings { security_context: Some(json!({"runAsUser": "root"})), ..PodSettings::default() };
    let error = build(&owner, &run(Privilege::Unprivileged, settings), &image()).unwrap_err().to_string();
    assert!(error.starts_with("moverSecurityContext cannot be read"), "{error}");
}

/// A pod with a block volume, but for what every pod has.
#[test]
fn a_block_volume_is_a_device_in_its_pod_and_no_mount() {
    let owner = Owner { role: Role::Source, namespace: "ns".into(), name: "x".into(), uid: "u".into() };
    let mut run = run(Privilege::Unprivileged, PodSettings::default());
    run.mode = VolumeMode::Block;
    run.read_only = true;
    run.request.volume = Volume::device("/dev/block");
    let job = build(&owner, &run, &image()).unwrap();
    assert_hardened(&job);
    let container = serde_json::to_value(container(&job)).unwrap();
    assert_eq!(container["volumeDevices"], json!([{"name": "data", "devicePath": "/dev/block"}]));
    assert_eq!(container["volumeMounts"], json!([{"name": "keys", "mountPath": "/keys", "readOnly": true}]));
    let request: Request = serde_json::from_str(container["env"][0]["value"].as_str().unwrap()).unwrap();
    assert_eq!(request.volume, Volume::device("/dev/block"));
    let volumes = serde_json::to_value(pod(&job).volumes.as_ref().unwrap()).unwrap();
    assert_eq!(volumes[0], json!({"name": "data", "persistentVolumeClaim": {"claimName": "claim", "readOnly": true}}));
}

#[test]
fn a_mover_of_a_repository_finds_its_secret_its_cache_and_its_certificates_as_files() {
    let certificates = |holder| Some(Certificates { holder, key: "root.pem".to_owned() });
    let run = MoverRun {
        mover: "restic",
        secret: MountedSecret { name: "repository".to_owned(), path: "/repository" },
        certificates: certificates(Holder::ConfigMap("trust".to_owned())),
        cache: Some("volsync-src-x-cache".to_owned()),
        request: Request { work: backup(), ..run(Privilege::Unprivileged, PodSettings::default()).request },
        ..run(Privilege::Privileged, PodSettings::default())
    };
    let job = build(&owner(), &run, &image()).unwrap();
    assert_hardened(&job);
    let seen = serde_json::to_value(container(&job)).unwrap();
    assert_eq!(seen["name"], "restic");
    assert_eq!(seen["securityContext"]["capabilities"]["add"], json!(["DAC_OVERRIDE", "CHOWN", "FOWNER"]));
    let expected = json!([
        {"name": "keys", "mountPath": "/repository", "readOnly": true},
        {"name": "custom-ca", "mountPath": "/customCA", "readOnly": true},
        {"name": "cache", "mountPath": "/cache"},
        {"name": "data", "mountPath": "/data", "readOnly": false},
    ]);
    assert_eq!(seen["volumeMounts"], expected);
    let volumes = serde_json::to_value(pod(&job).volumes.as_ref().unwrap()).unwrap();
    assert_eq!(volumes[1]["secret"]["secretName"], "repository");
    let items = json!([{"key": "root.pem", "path": "ca.crt"}]);
    assert_eq!(volumes[2], json!({"name": "custom-ca", "configMap": {"name": "trust", "items": items}}));
    assert_eq!(volumes[3], json!({"name": "cache", "persistentVolumeClaim": {"claimName": "volsync-src-x-cache"}}));
    let run = MoverRun { certificates: certificates(Holder::Secret("trust".to_owned())), ..run };
    let job = build(&owner(), &run, &image()).unwrap();
    let volumes = serde_json::to_value(pod(&job).volumes.as_ref().unwrap()).unwrap();
    assert_eq!(volumes[2], json!({"name": "custom-ca", "secret": {"secretName": "trust", "items": items}}));
}

#[test]
fn proxies_are_for_movers_that_go_to_stores() {
    let usual = run(Privilege::Unprivileged, PodSettings::default());
    let to_store = MoverRun { request: Request { work: backup(), ..usual.request.clone() }, ..usual.clone() };
    let names = |run: &MoverRun| -> Vec<String> {
        let job = build(&owner(), run, &image()).unwrap();
        container(&job).env.iter().flatten().map(|variable| variable.name.clone()).collect()
    };
    assert_eq!(names(&to_store), [doppel_contract::REQUEST_ENV, "HTTPS_PROXY"]);
    assert_eq!(names(&usual), [doppel_contract::REQUEST_ENV]);
}

fn backup() -> Work {
    let settings = "/repository".into();
    let repository = Repository { settings, ca_file: None, cache: Some("/cache".into()), lock_owner: None };
    Work::ResticBackup(ResticBackup { repository, retain: Retain::default(), prune: false, unlock: false })
}
