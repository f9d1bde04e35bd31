package helm

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// monitoring is the version of the Prometheus operator against whose definitions its objects are checked.
const monitoring = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

func TestAWrongValueIsRefusedWithAWordOnWhatIsWrong(t *testing.T) {
	say("Wrong values")
	for _, one := range []struct{ value, told string }{
		{"replicaCount=two", "at '/replicaCount': got string, want integer"},
		{"replicacount=2", "additional properties 'replicacount' not allowed"},
		{"image.pullPolicy=Sometimes", "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"},
		{"image.tag=a b", "at '/image/tag': 'a b' does not match"},
		{"rsync-tls.tag=0.17.0", "additional properties 'rsync-tls' not allowed"},
		{"imagePullSecrets={registry}", "at '/imagePullSecrets/0': got string, want object"},
		{"networkPolicy.apiServerPorts={70000}", "at '/networkPolicy/apiServerPorts/0': maximum: got 70,000"},
		{"podLabels.team=1", "at '/podLabels/team': got number, want string"},
		{"fullnameOverride=Doppel", "at '/fullnameOverride': 'Doppel' does not match"},
		{"resources.cpu=1", "at '/resources': additional properties 'cpu' not allowed"},
		{"serviceAccount.create=false", "name the ServiceAccount that is there in serviceAccount.name"},
		{"metrics.prometheusRule.enabled=true", "the cluster has no API monitoring.coreos.com/v1"},
	} {
		out := refused(t, "helm", "install", "doppel", chart, "-n", system, "--set", one.value)
		if !strings.Contains(out, one.told) {
			t.Errorf("%s: %q is not said", one.value, one.told)
		}
	}
}

func TestEveryOptionOfTheSchemaDoesSomething(t *testing.T) {
	every := everyOption(t)
	schema := parse[map[string]any](t, readFile(t, sources, "values.schema.json"))
	bare, full := rendered(t, nil), rendered(t, every)
	for _, path := range options(schema, nil) {
		name := strings.Join(path, ".")
		value, set := lookUp(every, path)
		if !set {
			t.Errorf("%s is not in testdata/every-option.json", name)
			continue
		}
		alone := nested(path, value)
		without := parse[map[string]any](t, string(must(json.Marshal(every))))
		remove(without, path)
		// Some do something only beside others, some only where others are not set.
		_, err := render(t, alone)
		if err == nil && rendered(t, alone) != bare {
			continue
		}
		if out, err := render(t, without); err == nil && out == full {
			t.Errorf("%s does nothing", name)
		}
	}
}

func TestTheAPIServerTakesWhatIsRendered(t *testing.T) {
	say("helm lint, and what the API server says to what is rendered")
	installDefinitions(t)
	namespace(t, system)
	full := written(t, "every-option.json", everyOption(t))
	for _, values := range [][]string{nil, {"-f", full}} {
		run(t, append([]string{"helm", "lint", "--strict", chart}, values...)...)
		render := append([]string{"helm", "template", "doppel", chart, "-n", system,
			"--api-versions", "monitoring.coreos.com/v1", "--kube-version", "1.37"}, values...)
		manifests := get(t, render...)
		fmt.Printf("$ %s | kubectl apply --dry-run=server -f -\n", strings.Join(render, " "))
		show(apply(t, manifests, "--dry-run=server"))
	}
	run(t, "kubectl", "apply", "--dry-run=server", "-f", root(t)+"/deploy/network-policy.yaml")
	run(t, "kubectl", "apply", "--dry-run=server", "-f", root(t)+"/deploy/monitoring/servicemonitor.yaml")
	get(t, "kubectl", "delete", "crd", "-l", "test=monitoring")
}

func TestTheChartInstallsWhatKustomizeInstalls(t *testing.T) {
	say("The chart and kustomize make the same objects")
	namespace(t, system)
	serverSide := []string{"--server-side", "--dry-run=server", "-o", "json"}
	chartSays := objects(t, apply(t, get(t, "helm", "template", "doppel", chart, "-n", system), serverSide...))
	plainSays := objects(t, apply(t, get(t, "kubectl", "kustomize", root(t)+"/deploy"), serverSide...))
	delete(plainSays, "Namespace/"+system)
	names := slices.Sorted(maps.Keys(plainSays))
	if charts := slices.Sorted(maps.Keys(chartSays)); !slices.Equal(charts, names) {
		t.Fatalf("the chart has %v\nkustomize has %v", charts, names)
	}
	for _, name := range names {
		if !reflect.DeepEqual(chartSays[name], plainSays[name]) {
			t.Errorf("%s differs\nchart:     %s\nkustomize: %s", name,
				must(json.Marshal(chartSays[name])), must(json.Marshal(plainSays[name])))
		}
	}
	fmt.Println("  the same:", strings.Join(names, ", "))
}

// objects are those of a list by kind and name, without what the API server or Helm adds.
func objects(t *testing.T, list string) map[string]map[string]any {
	t.Helper()
	found := make(map[string]map[string]any)
	for _, object := range parse[struct{ Items []map[string]any }](t, list).Items {
		metadata := object["metadata"].(map[string]any)
		kept := map[string]any{"name": metadata["name"], "namespace": metadata["namespace"]}
		labels, _ := metadata["labels"].(map[string]any)
		for _, helms := range []string{"helm.sh/chart", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by"} {
			delete(labels, helms)
		}
		if len(labels) > 0 {
			kept["labels"] = labels
		}
		object["metadata"] = kept
		delete(object, "status")
		if spec, ok := object["spec"].(map[string]any); ok && object["kind"] == "Service" {
			delete(spec, "clusterIP")
			delete(spec, "clusterIPs")
		}
		found[fmt.Sprintf("%s/%s", object["kind"], metadata["name"])] = object
	}
	return found
}

// installDefinitions brings the Prometheus operator's CRDs, of which only the two that the chart uses.
func installDefinitions(t *testing.T) {
	t.Helper()
	module := parse[struct{ Dir string }](t, get(t, "go", "mod", "download", "-json", monitoring))
	for _, plural := range []string{"servicemonitors", "prometheusrules"} {
		file := "monitoring.coreos.com_" + plural + ".yaml"
		get(t, "kubectl", "create", "-f", filepath.Join(module.Dir, "example", "prometheus-operator-crd", file))
		crd := plural + ".monitoring.coreos.com"
		get(t, "kubectl", "label", "crd", crd, "test=monitoring")
	}
	get(t, program, "await-crds", cluster)
}

func render(t *testing.T, values map[string]any) (string, error) {
	t.Helper()
	return try("helm", "template", "doppel", chart, "-n", system, "--api-versions", "monitoring.coreos.com/v1",
		"-f", written(t, "values.json", values))
}

func rendered(t *testing.T, values map[string]any) string {
	t.Helper()
	out, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// options are the paths of everything that the schema lets somebody set.
func options(schema map[string]any, above []string) [][]string {
	var found [][]string
	properties, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		path := append(slices.Clone(above), name)
		property := properties[name].(map[string]any)
		switch {
		case name == "global": // Helm's, for charts within charts.
		case property["$ref"] == "#/definitions/switch":
			found = append(found, append(path, "enabled"))
		case property["properties"] != nil && name != "resources":
			found = append(found, options(property, path)...)
		default:
			found = append(found, path)
		}
	}
	return found
}

func everyOption(t *testing.T) map[string]any {
	t.Helper()
	return parse[map[string]any](t, readFile(t, "testdata", "every-option.json"))
}

func lookUp(values map[string]any, path []string) (any, bool) {
	value, set := values[path[0]]
	if len(path) == 1 || !set {
		return value, set
	}
	inner, _ := value.(map[string]any)
	return lookUp(inner, path[1:])
}

func nested(path []string, value any) map[string]any {
	if len(path) == 1 {
		return map[string]any{path[0]: value}
	}
	return map[string]any{path[0]: nested(path[1:], value)}
}

func remove(values map[string]any, path []string) {
	if len(path) == 1 {
		delete(values, path[0])
		return
	}
	remove(values[path[0]].(map[string]any), path[1:])
}

func readFile(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func root(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
