package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"doppel/tests/cluster/internal/kube"
	"doppel/tests/cluster/internal/machine"
	"doppel/tests/cluster/internal/prerequisites"
	"doppel/tests/cluster/internal/programs"
)

// Files that are private to running clusters: fastDir is a tmpfs for what is written
// with a sync at every step (etcd, containerd), diskDir the file system of the volumes.
const (
	fastDir = "fast"
	diskDir = "disk"
)

// diskSize of the volumes' file system; its file is sparse.
const diskSize = 20 << 30

// Up makes sure that a cluster as wanted runs. One that is healthy is left as it is;
// whatever else is there under the name is removed first.
func Up(ctx context.Context, state string, wanted Spec, out io.Writer) error {
	started := time.Now()
	if os.Geteuid() != 0 {
		return errors.New("starting a cluster needs root")
	}
	if err := CheckName(wanted.Name); err != nil {
		return err
	}
	paths, err := NewPaths(state, wanted.Name)
	if err != nil {
		return err
	}
	unlock, err := lockCluster(wanted.Name, func() {
		fmt.Fprintf(out, "another command works on cluster %s: waiting\n", wanted.Name)
	})
	if err != nil {
		return err
	}
	defer unlock()
	sources, err := programs.Sources()
	if err != nil {
		return err
	}
	set, _, err := programs.Cached(sources, filepath.Join(state, "programs"))
	if err != nil {
		return err
	}
	problem := unhealthy(ctx, paths, wanted, set)
	if problem == nil {
		fmt.Fprintf(out, "cluster %s is up (%.2f s)\n", wanted.Name, time.Since(started).Seconds())
		return nil
	}
	if err := prerequisites.Check(); err != nil {
		return err
	}
	if exists(paths.Dir) {
		fmt.Fprintf(out, "cluster %s: %v; starting it anew\n", wanted.Name, problem)
	}
	wanted.Index = rememberedIndex(wanted)
	if err := remove(state, wanted.Name); err != nil {
		return fmt.Errorf("removing what is left of cluster %s: %w", wanted.Name, err)
	}
	inUse := func(dir string) bool { return ProgramsInUse(state, dir) }
	if set, err = programs.Ensure(ctx, sources, filepath.Join(state, "programs"), inUse, out); err != nil {
		return err
	}
	s := &starter{plan: plan{wanted, paths, set}, state: state, out: out, mark: time.Now()}
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("cluster %s: %w\nwhat it wrote is in %s; `cluster down %s` removes it", wanted.Name, err, paths.In("log"), wanted.Name)
	}
	fmt.Fprintf(out, "cluster %s is up at %s (%.1f s), kubeconfig %s\n", wanted.Name, s.first().Address(), time.Since(started).Seconds(), paths.Kubeconfig())
	return nil
}

// unhealthy says why a cluster cannot be used as it is, or nil.
func unhealthy(ctx context.Context, p Paths, wanted Spec, set programs.Set) error {
	s, err := LoadState(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("it does not run")
	case err != nil:
		return err
	case !s.Ready:
		return errors.New("its start was interrupted")
	case !s.Spec.Covers(wanted):
		return errors.New("it was started with other options")
	case s.Programs != set.Key():
		return errors.New("it runs other versions of the programs")
	case s.Digest != plan{s.Spec, p, set}.digest():
		return errors.New("it was started with an older configuration")
	}
	return healthy(ctx, p, s)
}

// healthy checks that every process lives and that the API server answers.
func healthy(ctx context.Context, p Paths, s State) error {
	if dead := s.Dead(); len(dead) > 0 {
		return fmt.Errorf("%s ended", strings.Join(dead, ", "))
	}
	client, err := s.client(p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := client.Ready(ctx); err != nil {
		return fmt.Errorf("its API server does not answer: %w", err)
	}
	return nil
}

// client is the administrator's.
func (s State) client(p Paths) (*kube.Client, error) {
	var config struct {
		Users []struct {
			User struct{ Token string }
		}
	}
	if err := readJSON(p.Kubeconfig(), &config); err != nil {
		return nil, err
	}
	if len(config.Users) == 0 {
		return nil, fmt.Errorf("%s names no user", p.Kubeconfig())
	}
	authority, err := os.ReadFile(p.In("pki", "ca.crt"))
	if err != nil {
		return nil, err
	}
	return kube.New(s.Spec.Server(), config.Users[0].User.Token, authority)
}

// rememberedIndex keeps a cluster's addresses over restarts.
func rememberedIndex(wanted Spec) int {
	if wanted.Index == 0 {
		for _, e := range registered() {
			if e.Name == wanted.Name {
				return e.Index
			}
		}
	}
	return wanted.Index
}

// ProgramsInUse says whether a cluster of the state directory was started from that
// directory of programs.
func ProgramsInUse(state, dir string) bool {
	for _, name := range List(state) {
		p, err := NewPaths(state, name)
		if err != nil {
			continue
		}
		if s, err := LoadState(p); err == nil && strings.Contains(" "+s.Programs+" ", " "+filepath.Base(dir)+" ") {
			return true
		}
	}
	return false
}

// starter takes one cluster from nothing to ready.
type starter struct {
	plan
	state   string
	out     io.Writer
	mark    time.Time
	current State
}

// phase prints how long it took since the last one.
func (s *starter) phase(what string) {
	fmt.Fprintf(s.out, "  %5.2f s  %s\n", time.Since(s.mark).Seconds(), what)
	s.mark = time.Now()
}

func (s *starter) start(ctx context.Context) error {
	if err := s.reserve(); err != nil {
		return err
	}
	if err := s.writeConfig(); err != nil {
		return err
	}
	if err := s.linkPrograms(); err != nil {
		return err
	}
	s.phase("network, keys, configuration")
	if err := s.mountFast(); err != nil {
		return err
	}
	if err := s.spawn(s.api()...); err != nil {
		return err
	}
	runtimes := make(chan error, 1)
	if s.spec.Nodes > 0 {
		for _, n := range s.spec.Machines() {
			if err := s.spawn(s.containerd(n)); err != nil {
				return err
			}
		}
		go func() { runtimes <- s.prepareNodes(ctx) }()
	} else {
		runtimes <- nil
	}
	client, err := s.current.client(s.paths)
	if err != nil {
		return err
	}
	// The server answers some time before it calls itself ready.
	if err := s.defineSnapshots(ctx, client); err != nil {
		return err
	}
	s.phase("API server answers, snapshot API defined")
	if err := <-runtimes; err != nil {
		return err
	}
	if err := s.spawn(s.rest()...); err != nil {
		return err
	}
	if err := s.createClasses(ctx, client); err != nil {
		return err
	}
	s.phase("images loaded, processes started, classes created")
	if err := kube.Await(ctx, 2*time.Minute, s.alive, client.Ready); err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	s.phase("API server ready")
	if err := s.awaitReady(ctx, client); err != nil {
		return err
	}
	s.current.Ready = true
	return s.current.save(s.paths)
}

// reserve takes the index, and makes cgroups and network.
func (s *starter) reserve() error {
	unlock, err := lockMachine(func() {})
	if err != nil {
		return err
	}
	defer unlock()
	if s.spec.Index, err = register(s.spec.Name, s.spec.Index, s.state); err != nil {
		return err
	}
	s.current = State{Spec: s.spec, Programs: s.set.Key(), Digest: s.digest()}
	if err := os.MkdirAll(s.paths.Dir, 0o755); err != nil {
		return err
	}
	if err := s.current.save(s.paths); err != nil {
		return err
	}
	if err := ensureBridge(); err != nil {
		return err
	}
	for _, n := range s.spec.Machines() {
		if err := machine.CreateCgroup(n.Cgroup()); err != nil {
			return err
		}
		if err := createNetwork(n); err != nil {
			return err
		}
	}
	return nil
}

func (s *starter) spawn(components ...Component) error {
	for _, c := range components {
		p, err := spawn(s.paths, c)
		if err != nil {
			return err
		}
		s.current.Processes = append(s.current.Processes, p)
	}
	return s.current.save(s.paths)
}

// alive says which component has ended, with the last it said.
func (s *starter) alive() error {
	for _, name := range s.current.Dead() {
		return fmt.Errorf("%s ended:\n%s", name, logTail(s.paths, name, 15))
	}
	return nil
}

func (s *starter) createClasses(ctx context.Context, client *kube.Client) error {
	for _, c := range classes() {
		if err := s.apply(ctx, client, c.Path, c.Content); err != nil {
			return err
		}
	}
	return nil
}

// apply tries until the server answers and knows the object's kind.
func (s *starter) apply(ctx context.Context, client *kube.Client, path string, o object) error {
	metadata, _ := o["metadata"].(object)
	name, _ := metadata["name"].(string)
	return kube.Await(ctx, 2*time.Minute, s.alive, func(ctx context.Context) error {
		return client.Apply(ctx, path+"/"+name, o)
	})
}
