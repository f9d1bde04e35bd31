// Package cluster starts, describes and removes test clusters.
//
// A cluster is a directory of state, one network namespace and one cgroup for each
// machine of it, and the processes in them. Addresses follow from the cluster's index and are of 198.18.0.0/15,
// a range reserved for benchmarks that no network routes (RFC 2544).
package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// MaxIndex keeps every third octet below 256: a cluster takes ten of them.
const MaxIndex = 24

// Bridge joins all clusters and the host, which is HostAddress on it.
const (
	Bridge      = "doppel0"
	HostAddress = "198.18.0.1"
)

// Spec says what a cluster is to be.
type Spec struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	Nodes int    `json:"nodes"` // 0: control plane only
	// Controllers are the controller-manager and what watches snapshots; a control
	// plane without them has only the API.
	Controllers  bool `json:"controllers"`
	LoadBalancer bool `json:"loadBalancer"`
}

// Covers says whether a cluster of spec s serves one who asked for the other.
func (s Spec) Covers(other Spec) bool {
	return s.Name == other.Name &&
		(other.Index == 0 || s.Index == other.Index) &&
		s.Nodes >= other.Nodes &&
		(s.Nodes == 0) == (other.Nodes == 0) &&
		(s.Controllers || !other.Controllers) &&
		(s.LoadBalancer || !other.LoadBalancer)
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9]{0,9}$`)

// CheckName refuses names that do not fit: they become parts of host names and of
// network interface names, which have at most 15 characters.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("cluster name %q: want a letter and up to nine more letters or digits, lower case", name)
	}
	return nil
}

// Node is one machine of a cluster; number 1 also runs the control plane.
type Node struct {
	Cluster Spec
	Number  int
}

// Machines lists the machines of the cluster: there is one even without a kubelet.
func (s Spec) Machines() []Node {
	machines := []Node{{s, 1}}
	for n := 2; n <= s.Nodes; n++ {
		machines = append(machines, Node{s, n})
	}
	return machines
}

func (n Node) suffix() string {
	if n.Number == 1 {
		return ""
	}
	return fmt.Sprintf("-%d", n.Number)
}

// Name is the name of the Node object.
func (n Node) Name() string { return n.Cluster.Name + n.suffix() }

// Namespace is the name of the node's network namespace.
func (n Node) Namespace() string { return "doppel-" + n.Name() }

// Link is the host's end of the node's cable.
func (n Node) Link() string { return "dp-" + n.Name() }

// Address is the node's address.
func (n Node) Address() string {
	return fmt.Sprintf("198.18.0.%d", 10*n.Cluster.Index+n.Number-1)
}

// MAC is fixed, so that no neighbour remembers an earlier cluster's under the address.
func (n Node) MAC() string {
	return fmt.Sprintf("02:d0:bb:1e:%02x:%02x", n.Cluster.Index, n.Number)
}

// Pods is the range of the node's pods.
func (n Node) Pods() string {
	return fmt.Sprintf("198.18.%d.0/24", 10*n.Cluster.Index+2*(n.Number-1))
}

// Services is the range of the cluster's Services.
func (s Spec) Services() string { return fmt.Sprintf("198.19.%d.0/24", s.Index) }

// APIService is the address of the Service "kubernetes", the first of the range.
func (s Spec) APIService() string { return fmt.Sprintf("198.19.%d.1", s.Index) }

// Balancers is the range of the addresses of Services of type LoadBalancer.
func (s Spec) Balancers() string { return fmt.Sprintf("198.18.%d.0/24", 10*s.Index+1) }

// Server is the URL of the API server, from everywhere.
func (s Spec) Server() string { return "https://" + s.Machines()[0].Address() + ":6443" }

// Cgroup is the group of all processes and pods of the node.
func (n Node) Cgroup() string { return n.Namespace() }

// StateDir is where everything of this program is kept.
func StateDir() (string, error) {
	dir := os.Getenv("DOPPEL_CLUSTER_STATE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("set DOPPEL_CLUSTER_STATE or HOME: %w", err)
		}
		dir = filepath.Join(cache, "doppel-cluster")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// Paths of one cluster, all below Dir.
type Paths struct{ Dir string }

// socketSuffix is the longest path of a socket below a cluster's directory.
const socketSuffix = "/kubelet-2/plugins_registry/btrfs.csi.doppel.test-reg.sock"

// NewPaths refuses a state directory that is too long for a socket's path (sun_path
// has 108 bytes with the zero, unix(7)).
func NewPaths(state, name string) (Paths, error) {
	p := Paths{filepath.Join(state, "clusters", name)}
	if n := len(p.Dir) + len(socketSuffix); n > 107 {
		return p, fmt.Errorf("state directory %s is %d bytes too long for sockets in it: set DOPPEL_CLUSTER_STATE to a shorter one", state, n-107)
	}
	return p, nil
}

// In is a path below the cluster's directory.
func (p Paths) In(parts ...string) string {
	return filepath.Join(append([]string{p.Dir}, parts...)...)
}

// Of is a path below the cluster's directory that each node has its own of.
func (p Paths) Of(n Node, name string) string { return p.In(name + n.suffix()) }

// Kubeconfig is the administrator's.
func (p Paths) Kubeconfig() string { return p.In("admin.kubeconfig") }
