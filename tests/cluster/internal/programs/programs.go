// Package programs builds the programs a cluster consists of and keeps them in a
// cache outside the tree. Each target is built at most once for one content of its
// go.mod, go.sum and sources.
package programs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"

	"doppel/tests/cluster/internal/machine"
)

// kubernetesVersion is what node/go.mod pins; the linker writes it into the programs,
// as the release builds do.
const kubernetesVersion = "v1.35.4"

const versionPackage = "k8s.io/component-base/version"

// target is one `go build`: packages of one module, and what is made of them.
type target struct {
	name     string
	module   string // directory below the sources
	tools    bool   // packages of dependencies: the module's own sources do not matter
	packages []string
	ldflags  string
	env      []string
	finish   func(ctx context.Context, b *builder, out string) error
}

// targets are built one after the other, as each can use the whole machine. Those
// that a control plane needs come first.
var targets = []target{
	{
		name: "node", module: "node", packages: []string{"."},
		ldflags: strings.Join([]string{"-s -w",
			"-X " + versionPackage + ".gitVersion=" + kubernetesVersion,
			"-X " + versionPackage + ".gitMajor=1", "-X " + versionPackage + ".gitMinor=35"}, " "),
		finish: linkComponents,
	},
	{name: "storage", module: "storage", packages: []string{"."}, ldflags: "-s -w", finish: writeCRDs},
	{name: "snapshot", module: "storage", tools: true, ldflags: "-s -w", packages: []string{
		"github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller",
		"github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter"}},
	{name: "coredns", module: "dns", packages: []string{"."}, ldflags: "-s -w"},
	{name: "pause", module: ".", packages: []string{"./pause"}, ldflags: "-s -w", env: []string{"CGO_ENABLED=0"}},
}

// components are the names under which the one program of node/ is called.
var components = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"}

// Set is where the built programs are.
type Set struct{ dirs map[string]string }

// Path is the path of one program.
func (s Set) Path(program string) string {
	switch program {
	case "storage":
		return filepath.Join(s.dirs["storage"], "storage")
	case "snapshot-controller", "csi-snapshotter":
		return filepath.Join(s.dirs["snapshot"], program)
	case "coredns":
		return filepath.Join(s.dirs["coredns"], "dns")
	case "pause":
		return filepath.Join(s.dirs["pause"], "pause")
	default:
		return filepath.Join(s.dirs["node"], program)
	}
}

// CRDs is a JSON array with the definitions of the snapshot API.
func (s Set) CRDs() string { return filepath.Join(s.dirs["storage"], "crds.json") }

// Key changes with any of the programs.
func (s Set) Key() string {
	var dirs []string
	for _, d := range s.dirs {
		dirs = append(dirs, filepath.Base(d))
	}
	sort.Strings(dirs)
	return strings.Join(dirs, " ")
}

// Cached is the set for these sources as far as it can be told without building,
// and the names of the targets that would have to be built.
func Cached(sources, cache string) (Set, []string, error) {
	set := Set{dirs: map[string]string{}}
	var missing []string
	for _, t := range targets {
		key, err := t.key(sources)
		if err != nil {
			return set, nil, err
		}
		dir := filepath.Join(cache, t.name+"-"+key)
		set.dirs[t.name] = dir
		if _, err := os.Stat(dir); err != nil {
			missing = append(missing, t.name)
		}
	}
	return set, missing, nil
}

// Ensure builds what is not in the cache, and tells on out what it is doing. inUse
// names the cache directories that running clusters need.
func Ensure(ctx context.Context, sources, cache string, inUse func(dir string) bool, out io.Writer) (Set, error) {
	set, missing, err := Cached(sources, cache)
	if err != nil || len(missing) == 0 {
		return set, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return set, err
	}
	unlock, err := machine.Lock(filepath.Join(cache, ".lock"), func() {
		fmt.Fprintln(out, "  waiting for another build of the same programs")
	})
	if err != nil {
		return set, err
	}
	defer unlock()
	if set, missing, err = Cached(sources, cache); err != nil || len(missing) == 0 {
		return set, err
	}
	fmt.Fprintf(out, "building %s; with an empty Go cache this takes many minutes, afterwards it is kept in %s\n",
		strings.Join(missing, ", "), cache)
	b := &builder{sources: sources, out: out}
	for _, t := range targets {
		dir := set.dirs[t.name]
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := b.build(ctx, t, dir); err != nil {
			return set, err
		}
		removeOld(cache, t.name, dir, inUse)
	}
	return set, nil
}

// key is a digest of everything the target is made from.
func (t target) key(sources string) (string, error) {
	dir := filepath.Join(sources, t.module)
	files := []string{"go.mod", "go.sum"}
	if !t.tools {
		own, err := goFiles(dir, t.module == ".", t.packages)
		if err != nil {
			return "", err
		}
		files = append(files, own...)
	}
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), t.packages, t.ldflags, t.env, components)
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			return "", fmt.Errorf("the sources of %s: %w", t.name, err)
		}
		fmt.Fprintln(h, f, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// goFiles lists the Go files of the module, or, of the module of this program
// itself, only those of the packages, in order.
func goFiles(dir string, own bool, packages []string) ([]string, error) {
	roots := []string{"."}
	if own {
		roots = packages
	}
	var files []string
	for _, root := range roots {
		err := filepath.WalkDir(filepath.Join(dir, root), func(path string, d os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				name, _ := filepath.Rel(dir, path)
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// removeOld removes what was built of earlier sources, unless a cluster runs it.
func removeOld(cache, name, current string, inUse func(dir string) bool) {
	old, _ := filepath.Glob(filepath.Join(cache, name+"-*"))
	for _, dir := range old {
		if dir != current && !inUse(dir) {
			_ = os.RemoveAll(dir)
		}
	}
}

// Sources finds the directory of this program's sources, with node/, storage/ and
// dns/ in it: where the program was compiled, or below the working directory.
func Sources() (string, error) {
	candidates := []string{os.Getenv("DOPPEL_CLUSTER_SOURCE")}
	if _, file, _, ok := runtime.Caller(0); ok {
		candidates = append(candidates, filepath.Join(filepath.Dir(file), "..", ".."))
	}
	candidates = append(candidates, "tests/cluster", ".")
	for _, c := range candidates {
		if c == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(c, "node", "go.mod")); err == nil {
			return filepath.Abs(c)
		}
	}
	return "", fmt.Errorf("the sources of the cluster's programs (tests/cluster) are not found: run from the repository or set DOPPEL_CLUSTER_SOURCE")
}

// age is a duration as people read it.
func age(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }
