package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"doppel/tests/cluster/internal/cluster"
	"doppel/tests/cluster/internal/image"
	"doppel/tests/cluster/internal/prerequisites"
	"doppel/tests/cluster/internal/programs"
)

func up(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	spec := cluster.Spec{}
	flags.IntVar(&spec.Index, "index", 0, "")
	flags.IntVar(&spec.Nodes, "nodes", 1, "")
	only := flags.Bool("control-plane-only", false, "")
	with := flags.Bool("with-controllers", false, "")
	noBalancer := flags.Bool("no-lb", false, "")
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errUsage
	}
	spec.Name = rest[0]
	spec.Controllers, spec.LoadBalancer = true, !*noBalancer
	if *only {
		spec.Nodes, spec.Controllers, spec.LoadBalancer = 0, *with, false
	} else if spec.Nodes < 1 || spec.Nodes > cluster.MaxNodes {
		return fmt.Errorf("--nodes %d: want 1 to %d", spec.Nodes, cluster.MaxNodes)
	}
	state, err := cluster.StateDir()
	if err != nil {
		return err
	}
	return cluster.Up(ctx, state, spec, os.Stderr)
}

func down(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("down", flag.ContinueOnError)
	all := flags.Bool("all", false, "")
	names, err := parse(flags, args)
	if err != nil {
		return err
	}
	if *all == (len(names) > 0) {
		return errUsage
	}
	state, err := cluster.StateDir()
	if err != nil {
		return err
	}
	if *all {
		names = cluster.Removable(state)
	}
	var failed []error
	for _, name := range names {
		failed = append(failed, cluster.Down(state, name, os.Stderr))
	}
	return errors.Join(failed...)
}

func kubeconfig(_ context.Context, args []string) error {
	state, name, err := only(args)
	if err != nil {
		return err
	}
	path, err := cluster.Kubeconfig(state, name)
	if err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}

func volumes(_ context.Context, args []string) error {
	state, name, err := only(args)
	if err != nil {
		return err
	}
	path, err := cluster.Volumes(state, name)
	if err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}

func execute(_ context.Context, args []string) error {
	if len(args) > 1 && args[1] == "--" {
		args = append(args[:1:1], args[2:]...)
	}
	if len(args) < 2 {
		return errUsage
	}
	state, err := cluster.StateDir()
	if err != nil {
		return err
	}
	return cluster.Exec(state, args[0], args[1:])
}

func awaitCRDs(ctx context.Context, args []string) error {
	state, name, err := only(args)
	if err != nil {
		return err
	}
	return cluster.AwaitCRDs(ctx, state, name)
}

// only is the cluster that is the only argument, and the state directory that it is kept in.
func only(args []string) (state, name string, err error) {
	if len(args) != 1 {
		return "", "", errUsage
	}
	state, err = cluster.StateDir()
	return state, args[0], err
}

func loadImage(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("load-image", flag.ContinueOnError)
	all := flags.Bool("all", false, "")
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	state, err := cluster.StateDir()
	if err != nil {
		return err
	}
	var names []string
	if *all {
		names = cluster.WithNodes(state)
	} else if len(rest) > 0 {
		names, rest = rest[:1], rest[1:]
	}
	if len(rest) == 0 {
		return errUsage
	}
	for _, name := range names {
		if err := cluster.LoadImages(ctx, state, name, rest, os.Stderr); err != nil {
			return err
		}
	}
	return nil
}

func logs(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("logs", flag.ContinueOnError)
	lines := flags.Int("lines", 0, "")
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) < 1 || len(rest) > 2 {
		return errUsage
	}
	state, err := cluster.StateDir()
	if err != nil {
		return err
	}
	component := ""
	if len(rest) == 2 {
		component = rest[1]
	}
	return cluster.Logs(state, rest[0], component, *lines, os.Stdout)
}

func restart(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("restart", flag.ContinueOnError)
	after := flags.Duration("after", 0, "")
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return errUsage
	}
	state, err := cluster.StateDir()
	if err != nil {
		return err
	}
	return cluster.Restart(ctx, state, rest[0], rest[1], *after, os.Stderr)
}

func status(ctx context.Context, args []string) error {
	if len(args) != 0 {
		return errUsage
	}
	state, err := cluster.StateDir()
	if err != nil {
		return err
	}
	return cluster.Status(ctx, state, os.Stdout)
}

func packImage(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	o := image.Options{Files: map[string]string{}, Labels: map[string]string{}}
	flags.StringVar(&o.User, "user", "", "")
	flags.StringVar(&o.Workdir, "workdir", "/", "")
	var labels, env list
	flags.Var(&labels, "label", "")
	flags.Var(&env, "env", "")
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) < 4 {
		return errUsage
	}
	o.Reference, o.Entrypoint, o.Env = rest[1], rest[2], env
	for _, l := range labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok {
			return fmt.Errorf("--label %q: want KEY=VALUE", l)
		}
		o.Labels[k] = v
	}
	for _, f := range rest[3:] {
		inside, here, ok := strings.Cut(f, "=")
		if !ok {
			return fmt.Errorf("%q: want INSIDE=FILE", f)
		}
		o.Files[inside] = here
	}
	return image.WriteFile(rest[0], o)
}

func build(ctx context.Context, args []string) error {
	if len(args) != 0 {
		return errUsage
	}
	state, err := cluster.StateDir()
	if err != nil {
		return err
	}
	sources, err := programs.Sources()
	if err != nil {
		return err
	}
	inUse := func(dir string) bool { return cluster.ProgramsInUse(state, dir) }
	_, err = programs.Ensure(ctx, sources, filepath.Join(state, "programs"), inUse, os.Stderr)
	return err
}

func checkMachine(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("prerequisites", flag.ContinueOnError)
	install := flags.Bool("install", false, "")
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return errUsage
	}
	if *install {
		if err := prerequisites.Install(os.Stderr); err != nil {
			return err
		}
	}
	return prerequisites.Check()
}
