package cluster

import (
	"fmt"
	"os"
	"strings"

	"doppel/tests/cluster/internal/machine"
)

// ensureBridge makes the bridge that joins the clusters and the host, or completes one
// whose making was interrupted. The caller holds the machine's lock.
func ensureBridge() error {
	var lines []string
	if !machine.LinkExists(Bridge) {
		lines = append(lines, "link add "+Bridge+" type bridge")
	}
	return machine.IP("", append(lines,
		"addr replace "+HostAddress+"/16 dev "+Bridge,
		"link set "+Bridge+" up")...)
}

// nodeDevice is the node's end of its cable.
const nodeDevice = "up0"

// createNetwork makes the node's namespace, connects it to the bridge, and sets its
// routes and the rule that hides pods behind the node's address.
func createNetwork(n Node) error {
	ns, end := n.Namespace(), nodeDevice
	err := machine.IP("",
		"netns add "+ns,
		fmt.Sprintf("link add %s type veth peer name %s address %s netns %s", n.Link(), end, n.MAC(), ns),
		fmt.Sprintf("link set %s master %s up", n.Link(), Bridge))
	if err != nil {
		return err
	}
	lines := []string{
		"link set lo up",
		fmt.Sprintf("addr add %s/16 dev %s", n.Address(), end),
		fmt.Sprintf("link set %s up", end),
		// Services have no machine; a route is all that their connections need to reach
		// the rules that translate them.
		fmt.Sprintf("route add %s dev %s", n.Cluster.Services(), end),
		// The address of a pod that is gone answers at once.
		fmt.Sprintf("route add unreachable %s", n.Pods()),
	}
	for _, other := range n.Cluster.Machines() {
		if other.Number != n.Number {
			lines = append(lines, fmt.Sprintf("route add %s via %s", other.Pods(), other.Address()))
		}
	}
	if err := machine.IP(ns, lines...); err != nil {
		return err
	}
	return machine.InsideNamespace(machine.NamespacePath(ns), func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
			return err
		}
		if n.Cluster.Nodes == 0 {
			return nil
		}
		_, err := machine.Run(masquerade(n), "nft", "-f", "-")
		return err
	})
}

// masquerade hides pods from all but the cluster's own pods.
func masquerade(n Node) string {
	var pods []string
	for _, m := range n.Cluster.Machines() {
		pods = append(pods, m.Pods())
	}
	return fmt.Sprintf(`table ip doppel {
  chain postrouting {
    type nat hook postrouting priority srcnat + 10; policy accept;
    ip saddr %s ip daddr != { %s } masquerade
  }
}
`, n.Pods(), strings.Join(pods, ", "))
}
