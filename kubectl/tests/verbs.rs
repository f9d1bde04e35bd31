//! The verbs against a real API server, as a user types them. What an operator would write is written by the tests.

#![cfg(test)]

#[path = "verbs/world.rs"]
mod world;

mod verbs {
    mod explain;
    mod pair;
    mod restore;

    use serde_json::json;

    use super::world::{World, kubectl};

    #[test]
    fn both_kinds_are_in_one_table_and_json_has_the_same() {
        let world = World::new("table");
        world.create("ReplicationSource", "data", &json!({"sourcePVC": "data", "rsyncTLS": {}}));
        world.create("ReplicationDestination", "data", &json!({"rsyncTLS": {}, "trigger": {"manual": "1"}}));
        world.report("replicationdestination", "data", &json!({"conditions": [
            {"type": "Ready", "status": "False", "reason": "Queued", "message": "third", "lastTransitionTime": "2026-11-24T10:00:00Z"},
            {"type": "Reconciling", "status": "True", "reason": "Queued", "message": "third", "lastTransitionTime": "2026-11-24T10:00:00Z"},
        ]}));
        let table = world.run(&["status"]);
        assert_eq!(table.code, 0, "{table:?}");
        let lines: Vec<&str> = table.out.lines().collect();
        assert_eq!(lines.len(), 3, "{table:?}");
        assert!(lines[1].contains("source") && lines[1].contains("not seen"), "{table:?}");
        assert!(lines[2].contains("destination") && lines[2].contains("queued"), "{table:?}");
        let list: serde_json::Value = serde_json::from_str(&world.run(&["status", "-o", "json"]).out).unwrap();
        assert_eq!(list["items"][1]["kind"], "ReplicationDestination");
        assert_eq!(list["items"][1]["reason"], "Queued");
        assert!(world.run(&["status", "-A"]).out.contains(&world.namespace));
    }

    #[test]
    fn what_cannot_be_found_is_named_with_an_exit_code_of_its_own() {
        let world = World::new("missing");
        world.create("ReplicationSource", "both", &json!({"sourcePVC": "data", "rsyncTLS": {}}));
        world.create("ReplicationDestination", "both", &json!({"rsyncTLS": {}}));
        world.create("ReplicationDestination", "one", &json!({"rsyncTLS": {}}));
        for (arguments, code, says) in [
            (&["status", "nobody"][..], 5, "there is no ReplicationSource or ReplicationDestination \"nobody\""),
            (&["sync", "both"], 2, "--kind source or --kind destination"),
            (&["sync", "one", "--kind", "source"], 5, "there is a ReplicationDestination of that name"),
            (&["--context", "mars", "status"], 2, "there is no context \"mars\""),
            (&["--kubeconfig", "/nonexistent", "status"], 1, "cannot read the kubeconfig"),
            (&["sync", "one", "--timeout", "5"], 2, "90s, 10m or 2h"),
        ] {
            let ended = world.run(arguments);
            assert!(ended.code == code && ended.err.contains(says), "{arguments:?}: {ended:?}");
        }
        let empty = World::new("empty").run(&["status"]);
        assert!(empty.code == 0 && empty.err.contains("-A looks in all namespaces"), "{empty:?}");
    }

    #[test]
    fn a_cluster_without_the_api_is_told_from_one_without_objects() {
        let world = World::bare();
        for arguments in [&["status"][..], &["sync", "data"]] {
            let ended = world.run(arguments);
            assert!(ended.code == 5 && ended.err.contains("neither Doppel nor VolSync is installed"), "{ended:?}");
        }
    }

    #[test]
    fn who_may_not_is_told_what_is_missing() {
        let world = World::new("forbidden");
        world.create("ReplicationSource", "data", &json!({"sourcePVC": "data", "rsyncTLS": {}}));
        let stranger = world.impersonating("stranger");
        for (arguments, says) in [
            (&["status"][..], "you may not list replication"),
            (&["sync", "data"], "you may not get replicationsources"),
        ] {
            let ended = stranger.run(arguments);
            assert!(ended.code == 6 && ended.err.contains(says), "{ended:?}");
        }
    }

    #[test]
    fn a_schedule_is_in_force_again_once_the_synchronization_has_begun() {
        let world = World::new("schedule");
        let spec = json!({"sourcePVC": "data", "rsyncTLS": {}, "trigger": {"schedule": "0 3 * * *"}});
        world.create("ReplicationSource", "data", &spec);
        let sync = world.spawn(&["sync", "data", "--wait", "--timeout", "2m"]);
        world.await_generation("data", 2);
        let tag = world.manual("data");
        assert!(tag.starts_with("kubectl-doppel-"), "{tag:?}");
        world.report(
            "replicationsource",
            "data",
            &json!({
                "lastSyncStartTime": "2026-11-24T10:00:00Z", "currentSync": {"manual": tag},
                "conditions": [condition("Ready", "False", "MoverRunning")],
            }),
        );
        world.await_generation("data", 3);
        assert_eq!(world.manual("data"), "", "the schedule is in force");
        world.report(
            "replicationsource",
            "data",
            &json!({
                "lastSyncStartTime": null, "currentSync": null, "lastManualSync": tag,
                "lastSyncTime": "2026-11-24T10:01:00Z", "lastSyncDuration": "1m0s",
            }),
        );
        let ended = sync.end();
        assert!(ended.code == 0 && ended.out.contains("synchronized, in 1m0s"), "{ended:?}");
    }

    #[test]
    fn a_schedule_is_in_force_again_where_nobody_begins() {
        let world = World::new("nobody");
        let spec = json!({"sourcePVC": "data", "rsyncTLS": {}, "trigger": {"schedule": "0 3 * * *"}});
        world.create("ReplicationSource", "data", &spec);
        let ended = world.run(&["sync", "data", "--timeout", "1s"]);
        assert!(ended.code == 4 && ended.err.contains("the synchronization has not begun after 1s"), "{ended:?}");
        assert_eq!(world.manual("data"), "");
        let spec = world.get("data");
        assert_eq!(spec["spec"]["trigger"]["schedule"], "0 3 * * *");
    }

    #[test]
    fn a_failed_attempt_ends_the_wait_with_what_the_mover_said() {
        let world = World::new("failure");
        world.create("ReplicationSource", "data", &json!({"sourcePVC": "data", "rsyncTLS": {}}));
        let sync = world.spawn(&["sync", "data", "--wait", "--timeout", "2m"]);
        world.await_generation("data", 2);
        world.report(
            "replicationsource",
            "data",
            &json!({
                "lastSyncStartTime": "2026-11-24T10:00:00Z",
                "currentSync": {"manual": world.manual("data"), "failedAttempts": 1,
                    "lastFailure": {"fault": "Peer", "message": "the destination refused the key"}},
                "conditions": [condition("Ready", "False", "AttemptFailed")],
            }),
        );
        let ended = sync.end();
        assert!(ended.code == 3 && ended.err.contains("the destination refused the key (fault: Peer)"), "{ended:?}");
    }

    #[test]
    fn an_interruption_leaves_the_synchronization_going_and_says_so() {
        let world = World::new("interrupt");
        world.create("ReplicationSource", "data", &json!({"sourcePVC": "data", "rsyncTLS": {}}));
        let sync = world.spawn(&["sync", "data", "--wait"]);
        // Its first line is written when it waits already.
        let (sync, line) = sync.first_line();
        assert!(line.contains("waits for the operator to begin"), "{line}");
        sync.interrupt();
        let ended = sync.end();
        assert!(ended.code == 130 && ended.err.contains("goes on; see kubectl doppel status data"), "{ended:?}");
        assert!(world.manual("data").starts_with("kubectl-doppel-"));
    }

    #[test]
    fn what_would_come_to_nothing_is_refused_and_nothing_is_written() {
        let world = World::new("refused");
        let paused = json!({"sourcePVC": "data", "rsyncTLS": {}, "paused": true});
        world.create("ReplicationSource", "data", &paused);
        let ended = world.run(&["sync", "data"]);
        assert!(ended.code == 2 && ended.err.contains("set spec.paused to false"), "{ended:?}");
        assert_eq!(world.get("data")["metadata"]["generation"], 1);
        kubectl(&world, &["delete", "replicationsource", "data"], None);
        assert_eq!(world.run(&["sync", "data"]).code, 5);
    }

    fn condition(kind: &str, status: &str, reason: &str) -> serde_json::Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "m", "lastTransitionTime": "2026-11-24T10:00:00Z"})
    }
}
