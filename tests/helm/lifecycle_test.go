package helm

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// One story: each part begins where the one before ended.
func TestAReleaseIsInstalledThenUpgradedWithARunInFlightThenUninstalledAndLosesNothing(t *testing.T) {
	begin(t)
	install(t)
	upgradeInFlight(t)
	leaveTheDefinitions(t)
	uninstallAndComeBack(t)
	cleanUp(t)
}

// install installs a former version of the chart.
func install(t *testing.T) {
	say("Install, under Pod Security restricted")
	run(t, "helm", "install", "doppel", formerChart(t), "-n", system, "--wait", "--timeout", "120s")
	run(t, "helm", "list", "-n", system)
	run(t, "kubectl", "get", "deployments,pods,services,poddisruptionbudgets", "-n", system)
}

func upgradeInFlight(t *testing.T) {
	say("A volume of 300 MB, and a mover with a fiftieth of a processor")
	makePair(t)
	createSource(t, "first")
	meet(t)
	// As a version would have left them that starts its movers otherwise than this one.
	for _, ns := range []string{here, there} {
		get(t, "kubectl", "annotate", "jobs", "-n", ns, "-l", "app.kubernetes.io/created-by=volsync", "--overwrite",
			"doppel.backube/fingerprint=0.0.9/1/0123456789abcdef0123456789abcdef")
	}
	before := runs(t)
	show(before)

	say("Meanwhile: another version, another image, two instances")
	values := written(t, "my-values.json", map[string]any{
		"image":         map[string]any{"tag": "next"},
		"replicaCount":  2,
		"networkPolicy": map[string]any{"enabled": true},
		"podLabels":     map[string]any{"team": "storage"},
	})
	run(t, "helm", "upgrade", "doppel", chart, "-n", system, "-f", values, "--wait", "--timeout", "120s", "--hide-notes")
	await(t, time.Minute, "an instance of the new version acts", func() (bool, string) {
		holder := field(t, "{.spec.holderIdentity}", "lease", "doppel-operator", "-n", system)
		upgraded := field(t, "{.items[*].metadata.name}", "pods", "-n", system, "-l", "team=storage")
		return holder != "" && strings.Contains(upgraded, holder), holder
	})
	run(t, "kubectl", "get", "pods", "-n", system, "--show-labels")
	if answered := source(t, "{.status.lastManualSync}"); answered == "first" {
		t.Fatal("the run had ended before the upgrade had")
	}
	after := runs(t)
	show(after)
	if after != before {
		t.Fatal("the run was restarted")
	}
	columns := field(t, "{.spec.versions[0].additionalPrinterColumns[*].name}", "crd", "replicationsources.volsync.backube")
	if !strings.HasSuffix(columns, " Message") {
		t.Fatalf("the CRD is the former one: %s", columns)
	}

	say("The run ends")
	awaitSynchronized(t, "first")
	run(t, "kubectl", "get", "replicationsource", "data", "-n", here)
	show(source(t, "{.status.latestMoverStatus.logs}"))
	compare(t, awaitImage(t, ""))
	pods := field(t, `{range .items[*]}{.metadata.name}{"\n"}{end}`, "events", "-n", here,
		"--field-selector", "reason=SuccessfulCreate,involvedObject.kind=Job")
	if len(strings.Fields(pods)) != 1 {
		t.Fatalf("not one pod for one run: %q", pods)
	}
	await(t, time.Minute, "the next mover, from the new image", func() (bool, string) {
		image := field(t, "{.items[*].spec.template.spec.containers[*].image}", "jobs", "-n", there)
		return image == next, image
	})
}

// leaveTheDefinitions is about what Helm does to objects that a chart has no more: it deletes them.
func leaveTheDefinitions(t *testing.T) {
	say("An upgrade that does not manage the CRDs leaves them, and a rollback")
	before := owned(t)
	run(t, "helm", "upgrade", "doppel", chart, "-n", system, "--set", "manageCRDs=false", "--wait", "--timeout", "120s", "--hide-notes")
	expectOwned(t, before)
	run(t, "helm", "rollback", "doppel", "2", "-n", system, "--wait", "--timeout", "120s")
	expectOwned(t, before)
	run(t, "helm", "history", "doppel", "-n", system)
}

func uninstallAndComeBack(t *testing.T) {
	say("Uninstall: the operator's objects go, the users' stay")
	before := owned(t)
	run(t, "helm", "uninstall", "doppel", "-n", system, "--wait", "--timeout", "120s")
	kinds := "deployments,pods,services,serviceaccounts,poddisruptionbudgets,networkpolicies,roles,rolebindings,clusterroles,clusterrolebindings"
	await(t, time.Minute, "nothing is left of the operator", func() (bool, string) {
		left := get(t, "kubectl", "get", kinds, "-A", "-l", "app.kubernetes.io/name=doppel", "-o", "name")
		return left == "", left
	})
	expectOwned(t, before)
	run(t, "kubectl", "get", "replicationsources,replicationdestinations,volumesnapshots,pvc", "-A")

	say("Installed again, it does what it was asked for meanwhile")
	former := destination(t, "{.status.latestImage.name}")
	shell(t, here, "writer", "echo changed >/data/many/7; rm /data/many/8")
	trigger(t, "second")
	run(t, "helm", "install", "doppel", chart, "-n", system, "--wait", "--timeout", "120s", "--hide-notes")
	awaitSynchronized(t, "second")
	compare(t, awaitImage(t, former))
}

func cleanUp(t *testing.T) {
	say("Deleted by hand, nothing is left")
	run(t, "kubectl", "delete", "replicationsource,replicationdestination", "--all", "-n", here)
	run(t, "kubectl", "delete", "replicationsource,replicationdestination", "--all", "-n", there)
	for _, ns := range []string{here, there} {
		await(t, 90*time.Second, "nothing is left of the replication", func() (bool, string) {
			left := get(t, "kubectl", "get", "jobs,pods,pvc,services,secrets,serviceaccounts,volumesnapshots", "-n", ns,
				"-l", "app.kubernetes.io/created-by=volsync", "-o", "name")
			return left == "", left
		})
	}
	removeRelease(t)
	run(t, "kubectl", "delete", "namespace", here, there)
}

func TestWhoeverMayViewOrEditMayDoSoWithReplications(t *testing.T) {
	begin(t)
	say("Rights of users")
	namespace(t, "rights")
	run(t, "helm", "install", "doppel", chart, "-n", system, "--hide-notes")
	for _, role := range []string{"view", "edit", "admin"} {
		get(t, "kubectl", "create", "rolebinding", role, "-n", "rights", "--clusterrole", role, "--user", role+"er")
	}
	for _, one := range []struct{ role, verb, resource, answer string }{
		{"view", "list", "replicationsources", "yes"},
		{"view", "create", "replicationsources", "no"},
		{"edit", "create", "replicationdestinations", "yes"},
		{"edit", "delete", "replicationsources", "yes"},
		{"edit", "update", "replicationsources --subresource=status", "no"},
		{"admin", "patch", "replicationdestinations", "yes"},
	} {
		ask := strings.Fields(fmt.Sprintf("kubectl auth can-i %s %s -n rights --as %ser", one.verb, one.resource, one.role))
		// Roles are aggregated by a controller, some time after they are there.
		await(t, 30*time.Second, strings.Join(ask, " ")+": "+one.answer, func() (bool, string) {
			answer, _ := try(ask[0], ask[1:]...)
			return strings.Fields(answer)[0] == one.answer, answer
		})
		prompt(ask)
		fmt.Println(" ", one.answer)
	}
	removeRelease(t)
	get(t, "kubectl", "delete", "namespace", "rights")
}

func TestWhatKustomizeInstalledIsTakenOver(t *testing.T) {
	begin(t)
	say("From kubectl apply -k to Helm")
	run(t, "kubectl", "apply", "-k", root(t)+"/deploy")
	run(t, "kubectl", "rollout", "status", "deployment/doppel-operator", "-n", system, "--timeout=120s")
	before := field(t, "{.metadata.uid}", "deployment", "doppel-operator", "-n", system)
	run(t, "helm", "install", "doppel", chart, "-n", system, "--take-ownership", "--force-conflicts", "--wait", "--hide-notes")
	if after := field(t, "{.metadata.uid}", "deployment", "doppel-operator", "-n", system); after != before {
		t.Error("the Deployment is another one")
	}
	removeRelease(t)
}

func TestCRDsOfVolSyncsChartAreTakenOverWithTheirObjects(t *testing.T) {
	begin(t)
	say("CRDs that VolSync's chart left, with an object")
	namespace(t, "adopted")
	get(t, "kubectl", "create", "-f", root(t)+"/crds/crds.yaml")
	for _, crd := range crds {
		get(t, "kubectl", "annotate", "crd", crd, "meta.helm.sh/release-name=volsync",
			"meta.helm.sh/release-namespace=volsync-system", "helm.sh/resource-policy=keep")
		get(t, "kubectl", "label", "crd", crd, "app.kubernetes.io/managed-by=Helm")
	}
	get(t, program, "await-crds", cluster)
	apply(t, `{"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationDestination", "metadata": {"name": "kept"},
		"spec": {"paused": true, "rsyncTLS": {"copyMethod": "Snapshot", "capacity": "1Gi", "accessModes": ["ReadWriteOnce"]}}}`,
		"-n", "adopted")
	before := field(t, "{.metadata.uid}", "replicationdestination", "kept", "-n", "adopted")
	out := refused(t, "helm", "install", "doppel", chart, "-n", system)
	if !strings.Contains(out, "invalid ownership metadata") {
		t.Error("what is wrong is not said")
	}
	run(t, "helm", "install", "doppel", chart, "-n", system, "--take-ownership", "--force-conflicts", "--wait", "--hide-notes")
	run(t, "helm", "uninstall", "doppel", "-n", system, "--wait")
	if after := field(t, "{.metadata.uid}", "replicationdestination", "kept", "-n", "adopted"); after != before {
		t.Error("the object is another one")
	}
	get(t, append([]string{"kubectl", "delete", "crd"}, crds...)...)
	get(t, "kubectl", "delete", "namespace", "adopted")
}

// begin removes what a test that failed has left, and makes the operator's namespace.
func begin(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { explain(t) })
	get(t, "helm", "uninstall", "doppel", "-n", system, "--ignore-not-found", "--wait")
	get(t, append([]string{"kubectl", "delete", "crd", "--ignore-not-found"}, crds...)...)
	get(t, "kubectl", "delete", "namespace", here, there, "rights", "adopted", "--ignore-not-found")
	namespace(t, system)
}

var crds = []string{"replicationsources.volsync.backube", "replicationdestinations.volsync.backube"}

// removeRelease removes a release, and what it leaves.
func removeRelease(t *testing.T) {
	t.Helper()
	run(t, "helm", "uninstall", "doppel", "-n", system, "--wait")
	run(t, append([]string{"kubectl", "delete", "crd"}, crds...)...)
}

// formerChart is this one under a lower version, with a CRD in which a column has another name.
func formerChart(t *testing.T) string {
	t.Helper()
	const version = "0.0.9"
	folder := filepath.Join(scratch, "former")
	get(t, "cp", "-rL", sources, folder)
	for file, change := range map[string][2]string{
		"Chart.yaml":          {`(?m)^version: .*`, "version: " + version},
		"manifests/crds.yaml": {`name: Message\n`, "name: Former message\n"},
	} {
		path := filepath.Join(folder, file)
		text := readFile(t, path)
		changed := regexp.MustCompile(change[0]).ReplaceAllString(text, change[1])
		if changed == text {
			t.Fatalf("%s has no %q", file, change[0])
		}
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	get(t, "helm", "package", folder)
	return "doppel-" + version + ".tgz"
}

// owned are the users' objects, and what was made for them and has to outlive any operator.
func owned(t *testing.T) string {
	t.Helper()
	return get(t, "kubectl", "get", "crd,replicationsources,replicationdestinations,pvc,volumesnapshots,secrets,services", "-A",
		"-o", `jsonpath={range .items[?(@.metadata.namespace!="doppel-system")]}{.kind} {.metadata.namespace} {.metadata.name} {.metadata.uid}{"\n"}{end}`)
}

func expectOwned(t *testing.T, before string) {
	t.Helper()
	if after := owned(t); after != before {
		t.Fatalf("users' objects changed\nbefore:\n%s\nafter:\n%s", before, after)
	}
	fmt.Printf("  CRDs, replications, claims, snapshots, keys and addresses: %d, with the same UIDs\n", strings.Count(before, "\n")+1)
}

// explain shows, where a test has failed, what the operator and the cluster say.
func explain(t *testing.T) {
	if !t.Failed() {
		return
	}
	for _, command := range [][]string{
		{"kubectl", "get", "pods,jobs,replicationsources,replicationdestinations", "-A", "-o", "wide"},
		{"kubectl", "logs", "-n", system, "-l", "app.kubernetes.io/name=doppel", "--tail=50"},
		{"kubectl", "get", "events", "-A", "--field-selector", "type=Warning"},
	} {
		out, _ := try(command[0], command[1:]...)
		show(out)
	}
}
