// Command cluster starts real Kubernetes clusters for tests on one machine, without
// container images to pull and without a container engine; see README.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sort"
	"strings"
	"syscall"

	"doppel/tests/cluster/internal/cluster"
)

// command is one word of the command line.
type command struct {
	usage string
	about string
	run   func(ctx context.Context, args []string) error
}

func commands() map[string]command {
	return map[string]command{
		"up":            {"up NAME [--index N] [--nodes 1|2] [--control-plane-only [--with-controllers]] [--no-lb]", "start a cluster, or find it running", up},
		"down":          {"down NAME... | --all", "remove clusters with everything they left", down},
		"kubeconfig":    {"kubeconfig NAME", "print the path of the administrator's kubeconfig", kubeconfig},
		"exec":          {"exec NAME [--] COMMAND...", "run a command in the cluster's network, with kubectl in PATH", execute},
		"await-crds":    {"await-crds NAME", "wait until every CustomResourceDefinition is established", awaitCRDs},
		"load-image":    {"load-image NAME|--all TAR...", "load image archives into the nodes", loadImage},
		"logs":          {"logs NAME [COMPONENT] [--lines N]", "print the end of the components' logs", logs},
		"restart":       {"restart NAME COMPONENT [--after DURATION]", "kill a component as a crash would, and start it again", restart},
		"volumes":       {"volumes NAME", "print the directory that has each volume under its handle", volumes},
		"status":        {"status", "list the clusters of this machine", status},
		"image":         {"image OUT.tar NAME:TAG ENTRYPOINT INSIDE=FILE... [--user UID] [--workdir DIR] [--env K=V] [--label K=V]", "pack files and their shared libraries into an image archive", packImage},
		"build":         {"build", "build the programs of the clusters into the cache", build},
		"prerequisites": {"prerequisites [--install]", "say what the machine lacks, or install it (Debian, root)", checkMachine},
	}
}

// init keeps the main goroutine on the first thread where it executes another program: [cluster.Become] says why.
func init() {
	if len(os.Args) > 1 && os.Args[1] == cluster.SpawnCommand {
		runtime.LockOSThread()
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == cluster.SpawnCommand {
		fail(cluster.Become(os.Args[2:]))
	}
	all := commands()
	if len(os.Args) < 2 {
		usage(all)
		os.Exit(2)
	}
	name := os.Args[1]
	if name == "help" || name == "-h" || name == "--help" {
		usage(all)
		return
	}
	c, ok := all[name]
	if !ok {
		usage(all)
		fail(fmt.Errorf("unknown command %q", name))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx, os.Args[2:]); err != nil {
		if err == errUsage {
			fmt.Fprintln(os.Stderr, "usage: cluster "+c.usage)
			os.Exit(2)
		}
		fail(err)
	}
}

func usage(all map[string]command) {
	var names []string
	for n := range all {
		names = append(names, n)
	}
	sort.Strings(names)
	var text strings.Builder
	text.WriteString("cluster: real Kubernetes clusters for tests\n\n")
	for _, n := range names {
		fmt.Fprintf(&text, "  cluster %s\n      %s\n", all[n].usage, all[n].about)
	}
	text.WriteString("\nState and built programs are kept in $DOPPEL_CLUSTER_STATE or ~/.cache/doppel-cluster.\n")
	fmt.Fprint(os.Stderr, text.String())
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "cluster: "+err.Error())
	os.Exit(1)
}
