package cluster

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"doppel/tests/cluster/internal/kube"
	"doppel/tests/cluster/internal/machine"
)

// Restart kills one component, as a crash would, leaves it down for a while, and starts
// it with the same command. It returns when the API server answers.
func Restart(ctx context.Context, state, name, component string, pause time.Duration, out io.Writer) error {
	if _, _, err := running(state, name); err != nil {
		return err
	}
	unlock, err := lockCluster(name, func() {
		fmt.Fprintf(out, "another command works on cluster %s: waiting\n", name)
	})
	if err != nil {
		return err
	}
	defer unlock()
	p, s, err := running(state, name)
	if err != nil {
		return err
	}
	var names []string
	for i, old := range s.Processes {
		names = append(names, old.Component)
		if old.Component != component {
			continue
		}
		started := time.Now()
		if err := replace(ctx, p, &s, i, pause); err != nil {
			return fmt.Errorf("restarting %s of cluster %s: %w", component, name, err)
		}
		fmt.Fprintf(out, "%s of cluster %s restarted (%.1f s)\n", component, name, time.Since(started).Seconds())
		return nil
	}
	return fmt.Errorf("no component %s; there are: %s", component, strings.Join(names, ", "))
}

func replace(ctx context.Context, p Paths, s *State, i int, pause time.Duration) error {
	old := s.Processes[i]
	find := func() []int {
		if old.Alive() {
			return []int{old.PID}
		}
		return nil
	}
	if err := machine.KillAll(find, settle); err != nil {
		return err
	}
	// A command that is interrupted meanwhile must not leave the cluster broken.
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
	fresh, err := spawn(p, Component{Name: old.Component, Node: Node{s.Spec, old.Node}, Command: old.Command})
	if err != nil {
		return err
	}
	s.Processes[i] = fresh
	if err := s.save(p); err != nil {
		return err
	}
	client, err := s.client(p)
	if err != nil {
		return err
	}
	dead := func() error {
		if fresh.Alive() {
			return nil
		}
		return fmt.Errorf("it ended:\n%s", logTail(p, old.Component, 15))
	}
	return kube.Await(context.WithoutCancel(ctx), time.Minute, dead, client.Ready)
}
