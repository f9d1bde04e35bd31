//! Repositories in buckets of a real S3. VolSync's tests use MinIO.

use serde_json::json;

use super::super::super::clusters::Cluster;
use super::super::super::store::{HOST, ID, SECRET, Store};
use super::super::stage::{Movers, Stage};
use super::super::{LONG_NAME, ODD_FILES};
use super::{DIRECT, SOURCE, UPKEEP, back_up_with, restic, restore_with};

const REPOSITORY: &str = "
apiVersion: v1
kind: Secret
metadata:
  name: repository
stringData:
  RESTIC_REPOSITORY: @REPOSITORY@
  RESTIC_PASSWORD: open sesame
  AWS_ACCESS_KEY_ID: @ID@
  AWS_SECRET_ACCESS_KEY: @KEY@
";

/// 67 characters, where a label has 63 at most.
const LONG_SOURCE: &str = "a-source-whose-name-is-longer-than-any-label-of-kubernetes-may-be-x";

/// Makes this repository that of a stage, with further lines of its Secret.
pub(super) fn use_repository(stage: &Stage, repository: &str, lines: &str) {
    let values = [("REPOSITORY", repository), ("ID", ID), ("KEY", SECRET)];
    stage.apply(&format!("{REPOSITORY}{lines}"), &values);
}

#[test]
fn a_bucket_behind_a_proxy_that_is_not_there_yet_takes_backups_of_a_source_with_a_long_name() {
    let (source, destination) = (LONG_SOURCE, LONG_NAME.0);
    let stage = Stage::new(Cluster::B, "acceptance-restic-bucket", Movers::Unprivileged);
    let stage = stage.with_source_named(source).named(destination);
    let repository = Store::shared().repository("long-names/of-data");
    stage.fill(ODD_FILES);
    stage.claim("restored", "null");
    let proxy = Store::shared().proxy();
    use_repository(&stage, &repository, &format!("  HTTP_PROXY: http://{HOST}:{}\n", proxy.port));
    assert_eq!(restore_with(&stage, "first", DIRECT)["repository"]["nothing"], "NoRepository");
    back_up_with(&stage, "once", "");
    restic(&repository, &["check", "--read-data"]);
    restore_with(&stage, "second", DIRECT);
    stage.assert_same_files("restored");
    for method in ["PUT", "GET"] {
        assert!(proxy.count(method, &format!("http://{HOST}")) > 0, "not through the proxy: {:?}", proxy.seen());
    }
    let claims = stage.names("pvc");
    for cache in [format!("volsync-src-{source}-cache"), format!("volsync-dst-{destination}-cache")] {
        assert!(claims.contains(&cache), "{cache}: {claims:?}");
    }
    stage.discard();
}

#[test]
fn a_private_authority_is_asked_for_and_trusted_from_a_secret_and_from_a_config_map() {
    let stage = Stage::new(Cluster::A, "acceptance-restic-ca", Movers::Unprivileged);
    let store = Store::shared();
    stage.fill(ODD_FILES);
    use_repository(&stage, &store.secure_repository("private/of-data"), "");
    stage.apply(&format!("{SOURCE}{UPKEEP}"), &[("NAME", &stage.source), ("TAG", "once")]);
    let advice = "its certificate is not trusted; give the certificate of its authority (customCA";
    let conditions = || json!(stage.source_status()["conditions"].to_string());
    stage.until("what is wrong", conditions, |told| told.as_str().unwrap().contains(advice));

    for (kind, content) in [("Secret", "stringData"), ("ConfigMap", "data")] {
        let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "authority"},
            content: {"authority.pem": store.authority}});
        stage.apply(&object.to_string(), &[]);
    }
    back_up_with(&stage, "once", "    customCA: {secretName: authority, key: authority.pem}\n");
    stage.claim("restored", "null");
    restore_with(&stage, "once", &format!("{DIRECT}    customCA: {{configMapName: authority, key: authority.pem}}\n"));
    stage.assert_same_files("restored");
    stage.discard();
}
