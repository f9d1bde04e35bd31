// Command storage has what the test clusters need besides Kubernetes: the CSI driver
// with its provisioner, the controller for Services of type LoadBalancer, and a
// converter of the snapshot API's definitions.
package main

import (
	"context"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"

	"doppel/tests/cluster/storage/internal/balancer"
	"doppel/tests/cluster/storage/internal/driver"
	"doppel/tests/cluster/storage/internal/provision"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

func main() {
	klog.InitFlags(nil)
	if len(os.Args) < 2 {
		klog.Exit("usage: storage csi|balancer|crds ...")
	}
	var err error
	switch args := os.Args[2:]; os.Args[1] {
	case "csi":
		err = runDrivers(args)
	case "balancer":
		err = runBalancer(args)
	case "crds":
		err = printCRDs(args)
	default:
		err = errors.New("unknown command " + os.Args[1])
	}
	if err != nil {
		klog.Exitf("storage %s: %v", os.Args[1], err)
	}
}

// The drivers: the second one takes no snapshots.
const (
	btrfsDriver = "btrfs.csi.doppel.test"
	plainDriver = "plain.csi.doppel.test"
)

func runDrivers(args []string) error {
	flags := flag.CommandLine
	root := flags.String("root", "", "where the btrfs file system is mounted")
	kubelet := flags.String("kubelet-dir", "", "the kubelet's root directory")
	sockets := flags.String("sockets", "", "directory of the CSI sockets, each with its driver's name")
	node := flags.String("node", "", "name of this node")
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	provisions := flags.Bool("provision", false, "make volumes, too; one node does")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := connect(*kubeconfig)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for _, name := range []string{btrfsDriver, plainDriver} {
		d, err := driver.New(driver.Options{Name: name, Node: *node, Root: *root, Snapshots: name == btrfsDriver})
		if err != nil {
			return err
		}
		go func() {
			failed <- d.Serve(filepath.Join(*sockets, name), filepath.Join(*kubelet, "plugins_registry"))
		}()
		if *provisions {
			go func() { failed <- provision.Run(context.Background(), config, d) }()
		}
	}
	return <-failed
}

func runBalancer(args []string) error {
	flags := flag.CommandLine
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	pool := flags.String("pool", "", "range of the addresses")
	device := flags.String("device", "", "interface that gets the addresses")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addresses, err := netip.ParsePrefix(*pool)
	if err != nil {
		return err
	}
	config, err := connect(*kubeconfig)
	if err != nil {
		return err
	}
	return balancer.Run(context.Background(), config, addresses, *device)
}

// connect sets limits that no test reaches.
func connect(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 500, 1000
	return config, nil
}
