package programs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

type builder struct {
	sources string
	out     io.Writer
}

// build builds into a directory beside the final one and renames it, so that what
// has a final name is complete.
func (b *builder) build(ctx context.Context, t target, dir string) error {
	started := time.Now()
	fmt.Fprintf(b.out, "  building %s\n", t.name)
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.MkdirAll(part, 0o755); err != nil {
		return err
	}
	// Nobody debugs these programs, so nothing that a debugger wants is written.
	args := append([]string{"build", "-v", "-trimpath", "-buildvcs=false", "-gcflags", "all=-dwarf=false", "-ldflags", t.ldflags, "-o", part + "/"}, t.packages...)
	if _, err := b.goTool(ctx, t, started, args...); err != nil {
		return err
	}
	if t.finish != nil {
		if err := t.finish(ctx, b, part); err != nil {
			return fmt.Errorf("building %s: %w", t.name, err)
		}
	}
	if err := os.Rename(part, dir); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "  built %s in %s\n", t.name, age(time.Since(started)))
	return nil
}

// goTool runs the go command in the target's module and prints how far it is.
func (b *builder) goTool(ctx context.Context, t target, started time.Time, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(b.sources, t.module)
	// A workspace file above would hide the modules that are not in it. A compiler that lives for a second need not collect
	// its garbage often: a fifth of all processor time of these builds (206 s instead of 259 s for storage/).
	cmd.Env = append(append(os.Environ(), "GOWORK=off", "GOGC=800"), t.env...)
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("running go: %w (a Go toolchain is needed)", err)
	}
	said := b.follow(stderr, t.name, started)
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("go %s in %s: %w\n%s", args[0], cmd.Dir, err, said)
	}
	return out.String(), nil
}

// follow counts the packages that `go build -v` names, and returns all other lines.
func (b *builder) follow(r io.Reader, name string, started time.Time) string {
	var other []string
	packages, downloads, told := 0, 0, time.Now()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "go: downloading "):
			downloads++
		case strings.ContainsAny(line, " :"):
			other = append(other, line)
		default:
			packages++
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			fmt.Fprintf(b.out, "    %s: %s, %d modules downloaded, %d packages compiled\n", name, age(time.Since(started)), downloads, packages)
		}
	}
	return strings.Join(other, "\n")
}

// linkComponents gives the program of node/ the names of its components.
func linkComponents(_ context.Context, _ *builder, out string) error {
	for _, c := range components {
		if err := os.Symlink("node", filepath.Join(out, c)); err != nil {
			return err
		}
	}
	return nil
}

// writeCRDs turns the snapshot API's definitions, which are YAML in the module of
// its Go client, into one JSON array.
func writeCRDs(ctx context.Context, b *builder, out string) error {
	storage := target{name: "storage", module: "storage"}
	// No program here imports that module, so nothing but this brings it.
	said, err := b.goTool(ctx, storage, time.Now(), "mod", "download", "-json", "github.com/kubernetes-csi/external-snapshotter/client/v8")
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(said), &module); err != nil {
		return fmt.Errorf("reading where the snapshot API's module is: %w", err)
	}
	dir := filepath.Join(module.Dir, "config", "crd")
	crds, err := exec.CommandContext(ctx, filepath.Join(out, "storage"), "crds", dir).Output()
	if err != nil {
		return fmt.Errorf("reading the definitions in %s: %w", dir, err)
	}
	return os.WriteFile(filepath.Join(out, "crds.json"), crds, 0o644)
}
