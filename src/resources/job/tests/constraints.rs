//! OpenShift's admission of a privileged mover, as its reference tells it ("Managing security context constraints").

use serde::Deserialize as _;
use serde_json::Value;

use super::*;

const MANIFESTS: &str = include_str!("../../../../deploy/openshift/privileged-movers.yaml");

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn a_privileged_mover_is_within_the_constraints_that_openshift_is_given() {
    let document = serde_yaml_ng::Deserializer::from_str(MANIFESTS).next().unwrap();
    let constraints = Value::deserialize(document).unwrap();
    let extra =
        |name: &str, content| ExtraVolume { name: name.to_owned(), mount_path: format!("/mnt/{name}"), content };
    let settings = PodSettings {
        volumes: vec![
            extra(
                "a",
                Content::Secret { name: "a".to_owned(), need: Need::Required, source: json!({"secretName": "a"}) },
            ),
            extra("b", Content::Claim { name: "b".to_owned(), source: json!({"claimName": "b"}) }),
        ],
        ..PodSettings::default()
    };
    let rsync = run(Privilege::Privileged, settings);
    let restic = MoverRun {
        cache: Some("cache".to_owned()),
        certificates: Some(Certificates { holder: Holder::ConfigMap("trust".to_owned()), key: "root.pem".to_owned() }),
        request: Request { work: backup(), ..rsync.request.clone() },
        ..rsync.clone()
    };
    for run in [rsync, restic] {
        let job = build(&owner(), &run, &image()).unwrap();
        let (pod, container) =
            (serde_json::to_value(pod(&job)).unwrap(), serde_json::to_value(container(&job)).unwrap());
        let context = &container["securityContext"];
        let allowed = names(&constraints["allowedCapabilities"]);
        let added = names(&context["capabilities"]["add"]);
        assert!(!added.is_empty() && added.iter().all(|name| allowed.contains(name)), "{added:?}");
        assert_eq!(context["capabilities"]["drop"], constraints["requiredDropCapabilities"]);
        assert_eq!(context["allowPrivilegeEscalation"], constraints["allowPrivilegeEscalation"]);
        assert_eq!(context["privileged"], constraints["allowPrivilegedContainer"]);
        assert_eq!(context["readOnlyRootFilesystem"], constraints["readOnlyRootFilesystem"]);
        assert_eq!(context["runAsUser"], 0, "which only this strategy lets it be");
        assert_eq!(constraints["runAsUser"]["type"], "RunAsAny");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(constraints["seccompProfiles"], json!(["runtime/default"]));
        for host in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_eq!(pod[host], Value::Null, "{host}");
        }
        assert_eq!(
            (&pod["securityContext"]["seLinuxOptions"], &context["seLinuxOptions"]),
            (&Value::Null, &Value::Null)
        );
        let kinds = names(&constraints["volumes"]);
        for volume in pod["volumes"].as_array().unwrap() {
            let source = volume.as_object().unwrap().keys().find(|key| *key != "name").unwrap();
            assert!(kinds.contains(&source.as_str()), "{volume}");
        }
    }
}
