package programs

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// module writes a module with one program, and returns the sources' directory.
func module(t *testing.T, main string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "tool", "go.mod"), "module example.test/tool\n\ngo 1.26.0\n")
	write(t, filepath.Join(dir, "tool", "go.sum"), "")
	write(t, filepath.Join(dir, "tool", "main.go"), main)
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

var tool = target{name: "tool", module: "tool", packages: []string{"."}}

const hello = "package main\n\nfunc main() { println(\"hello\") }\n"

func key(t *testing.T, target target, sources string) string {
	t.Helper()
	k, err := target.key(sources)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestTheKeyFollowsWhatIsCompiled(t *testing.T) {
	sources := module(t, hello)
	first := key(t, tool, sources)
	write(t, filepath.Join(sources, "tool", "main_test.go"), "package main\n")
	write(t, filepath.Join(sources, "tool", "notes.md"), "text")
	if key(t, tool, sources) != first {
		t.Error("tests and texts change the key")
	}
	write(t, filepath.Join(sources, "tool", "sub", "more.go"), "package sub\n")
	second := key(t, tool, sources)
	if second == first {
		t.Error("a new source does not change the key")
	}
	write(t, filepath.Join(sources, "tool", "go.sum"), "x v1.0.0 h1:abc\n")
	if key(t, tool, sources) == second {
		t.Error("go.sum does not change the key")
	}
}

func TestToolsOfAModuleDoNotFollowItsOwnSources(t *testing.T) {
	sources := module(t, hello)
	tools := tool
	tools.tools = true
	first := key(t, tools, sources)
	write(t, filepath.Join(sources, "tool", "main.go"), hello+"\n")
	if key(t, tools, sources) != first {
		t.Error("the key changed")
	}
}

func TestAModuleThatIsNotThereIsAnError(t *testing.T) {
	if _, err := tool.key(t.TempDir()); err == nil {
		t.Error("no error")
	}
}

func TestABuildAppearsOnlyWhenItIsComplete(t *testing.T) {
	var out bytes.Buffer
	dir := filepath.Join(t.TempDir(), "tool-1")
	b := &builder{sources: module(t, hello), out: &out}
	if err := b.build(context.Background(), tool, dir); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command(filepath.Join(dir, "tool")).CombinedOutput()
	if err != nil || string(said) != "hello\n" {
		t.Errorf("it said %q, error %v", said, err)
	}
	if !strings.Contains(out.String(), "built tool in ") {
		t.Errorf("told: %q", out.String())
	}
	broken := filepath.Join(t.TempDir(), "tool-2")
	b.sources = module(t, "package main\n\nfunc main() { nonsense }\n")
	err = b.build(context.Background(), tool, broken)
	if err == nil || !strings.Contains(err.Error(), "undefined: nonsense") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(broken); err == nil {
		t.Error("a failed build is taken for a complete one")
	}
}

func TestOldBuildsGoUnlessTheyAreInUse(t *testing.T) {
	cache := t.TempDir()
	for _, name := range []string{"tool-new", "tool-old", "tool-used", "other-old"} {
		write(t, filepath.Join(cache, name, "tool"), "")
	}
	removeOld(cache, "tool", filepath.Join(cache, "tool-new"), func(dir string) bool { return filepath.Base(dir) == "tool-used" })
	for name, stays := range map[string]bool{"tool-new": true, "tool-old": false, "tool-used": true, "other-old": true} {
		if _, err := os.Stat(filepath.Join(cache, name)); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProgressCountsAndKeepsWhatTheCompilerSays(t *testing.T) {
	b := &builder{out: &bytes.Buffer{}}
	said := b.follow(strings.NewReader("go: downloading a/b v1.0.0\nk8s.io/api\n# example.test/tool\n./main.go:3:15: undefined: x\n"), "tool", time.Now())
	if said != "# example.test/tool\n./main.go:3:15: undefined: x" {
		t.Errorf("%q", said)
	}
}
