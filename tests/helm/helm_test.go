// Package helm holds the chart to what it says, with the real helm on a real cluster of its own, and prints what happens
// as somebody would have typed it. Run it with make test-helm: root, some minutes, and Helm built once.
package helm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	cluster = "helm"
	sources = "../../charts/doppel"
	// Where Helm installs, as kubectl apply -k does.
	system = "doppel-system"
	// The image as make image packs it, and the same one under the name of a later version.
	image = "doppel.test/doppel:dev"
	next  = "doppel.test/doppel:next"
)

var (
	// program starts clusters, tool is helm.
	program, tool = os.Getenv("CLUSTER"), os.Getenv("HELM")
	// chart is the chart as users get it: packed.
	chart string
	// scratch is where helm runs: the packed chart is there, its own files, and what tests write.
	scratch string
)

func TestMain(m *testing.M) {
	code, err := prepared(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func prepared(m *testing.M) (code int, err error) {
	if program == "" || tool == "" {
		return 1, fmt.Errorf("run this through make test-helm")
	}
	if scratch, err = os.MkdirTemp("", "helm"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(scratch)
	defer func() {
		if _, problem := try(program, "down", cluster); problem != nil {
			code, err = 1, problem
		}
	}()
	for _, command := range [][]string{
		{program, "up", cluster},
		{program, "load-image", cluster, os.Getenv("IMAGE")},
		{program, "exec", cluster, "--", "ctr", "-n", "k8s.io", "images", "tag", image, next},
		{tool, "package", sources, "--destination", scratch},
	} {
		if _, err := try(command[0], command[1:]...); err != nil {
			return 1, err
		}
	}
	packed, err := filepath.Glob(filepath.Join(scratch, "doppel-*.tgz"))
	if err != nil || len(packed) != 1 {
		return 1, fmt.Errorf("not one packed chart: %v %w", packed, err)
	}
	chart = filepath.Base(packed[0])
	return m.Run(), nil
}

// say begins a part of the transcript.
func say(format string, arguments ...any) {
	fmt.Printf("\n== "+format+"\n", arguments...)
}

// run runs a command that must succeed, for the transcript.
func run(t *testing.T, command ...string) string {
	t.Helper()
	prompt(command)
	out := get(t, command...)
	show(out)
	return out
}

// refused runs a command that must fail, for the transcript.
func refused(t *testing.T, command ...string) string {
	t.Helper()
	prompt(command)
	out, err := try(command[0], command[1:]...)
	if err == nil {
		t.Fatalf("%s succeeded", strings.Join(command, " "))
	}
	show(out)
	return out
}

// prompt shows a command as a shell would take it.
func prompt(command []string) {
	words := make([]string, len(command))
	for i, word := range command {
		words[i] = word
		if strings.ContainsAny(word, ` {}"$*`) {
			words[i] = "'" + word + "'"
		}
	}
	fmt.Println("$", strings.Join(words, " "))
}

func show(out string) {
	for line := range strings.Lines(out) {
		fmt.Print("  ", line)
	}
	if !strings.HasSuffix(out, "\n") && out != "" {
		fmt.Println()
	}
}

// get runs a command that must succeed, and does not show it.
func get(t *testing.T, command ...string) string {
	t.Helper()
	out, err := try(command[0], command[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// apply gives a manifest to kubectl apply, with further arguments.
func apply(t *testing.T, manifest string, arguments ...string) string {
	t.Helper()
	command := append([]string{"exec", cluster, "--", "kubectl", "apply", "-f", "-"}, arguments...)
	out, err := tryWith(manifest, program, command...)
	if err != nil {
		t.Fatalf("%v\n%s", err, manifest)
	}
	return out
}

func try(name string, arguments ...string) (string, error) {
	return tryWith("", name, arguments...)
}

// tryWith runs kubectl in the cluster, helm with its kubeconfig, and anything else as it is.
func tryWith(stdin, name string, arguments ...string) (string, error) {
	command := exec.Command(name, arguments...)
	switch name {
	case "kubectl":
		command = exec.Command(program, append([]string{"exec", cluster, "--", name}, arguments...)...)
	case "helm":
		kubeconfig, err := exec.Command(program, "kubeconfig", cluster).Output()
		if err != nil {
			return "", fmt.Errorf("where the cluster's kubeconfig is: %w", err)
		}
		command = exec.Command(tool, arguments...)
		command.Dir = scratch
		command.Env = append(os.Environ(), "KUBECONFIG="+strings.TrimSpace(string(kubeconfig)),
			"HELM_CACHE_HOME="+scratch, "HELM_CONFIG_HOME="+scratch, "HELM_DATA_HOME="+scratch)
	}
	var out, problems bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &out, &problems
	if err := command.Run(); err != nil {
		both := out.String() + problems.String()
		return both, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(arguments, " "), err, both)
	}
	return out.String(), nil
}

// await waits until what a command prints is as wanted.
func await(t *testing.T, limit time.Duration, what string, look func() (bool, string)) {
	t.Helper()
	var seen string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var done bool
		if done, seen = look(); done {
			return
		}
	}
	t.Fatalf("%s: not after %s; last seen: %s", what, limit, seen)
}

// field is what kubectl prints of an object by a JSONPath.
func field(t *testing.T, path string, object ...string) string {
	t.Helper()
	return get(t, append(append([]string{"kubectl", "get"}, object...), "-o", "jsonpath="+path)...)
}

// namespace makes one of the test's own, under Pod Security restricted or whatever else the labels say.
func namespace(t *testing.T, name string) {
	t.Helper()
	apply(t, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": %q, "labels":
		{"pod-security.kubernetes.io/enforce": "restricted"}}}`, name))
}

// parse reads JSON.
func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var value T
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}

// written is a file with values, where helm runs.
func written(t *testing.T, name string, values any) string {
	t.Helper()
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(scratch, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
