package cluster

import (
	"path/filepath"

	"doppel/tests/cluster/internal/machine"
	"doppel/tests/cluster/internal/programs"
)

// Component is one program of a cluster with its arguments.
type Component struct {
	Name    string // also of its log file
	Node    Node
	Command []string
}

// plan knows everything that the command lines and the configuration of one cluster
// are made of.
type plan struct {
	spec  Spec
	paths Paths
	set   programs.Set
}

func (p plan) first() Node { return p.spec.Machines()[0] }

func (p plan) component(n Node, name string, args ...string) Component {
	program := name
	if name == "containerd" {
		path, _ := machine.Find(name)
		return Component{name + n.suffix(), n, append([]string{path}, args...)}
	}
	if name == "balancer" {
		program = "storage" // one program, two commands
	}
	return Component{name + n.suffix(), n, append([]string{p.set.Path(program)}, args...)}
}

func (p plan) pki(file string) string { return p.paths.In("pki", file) }

// api are the store and the API server. Both look for each other until they are there.
func (p plan) api() []Component {
	n := p.first()
	return []Component{
		p.component(n, "etcd",
			"--data-dir", p.paths.In(fastDir, "etcd"),
			"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
			"--listen-peer-urls", "http://127.0.0.1:2380",
			"--unsafe-no-fsync", "--log-level", "warn"),
		p.component(n, "kube-apiserver",
			"--etcd-servers", "http://127.0.0.1:2379",
			"--bind-address", "0.0.0.0", "--advertise-address", n.Address(), "--secure-port", "6443",
			"--tls-cert-file", p.pki("server.crt"), "--tls-private-key-file", p.pki("server.key"),
			"--client-ca-file", p.pki("ca.crt"), "--token-auth-file", p.pki("tokens.csv"),
			"--service-account-key-file", p.pki("sa.pub"), "--service-account-signing-key-file", p.pki("sa.key"),
			"--service-account-issuer", "https://kubernetes.default.svc",
			"--service-cluster-ip-range", p.spec.Services(),
			"--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction", "--allow-privileged",
			// Node names are not in any DNS; the kubelet wants a client certificate.
			"--kubelet-preferred-address-types", "InternalIP",
			"--kubelet-client-certificate", p.pki("kubelet-client.crt"), "--kubelet-client-key", p.pki("kubelet-client.key"),
			"--v", "1"),
	}
}

// controllers watch the API and act on it. They end when they cannot reach it at
// first, so it has to be ready. No leader is elected: there is one of each.
func (p plan) controllers() []Component {
	n := p.first()
	admin := p.paths.Kubeconfig()
	fast := []string{"--kube-api-qps", "500", "--kube-api-burst", "1000"}
	protobuf := []string{"--kube-api-content-type", "application/vnd.kubernetes.protobuf"}
	return []Component{
		p.component(n, "kube-controller-manager", join(fast, protobuf, []string{
			"--kubeconfig", admin,
			"--service-account-private-key-file", p.pki("sa.key"), "--root-ca-file", p.pki("ca.crt"),
			"--leader-elect=false", "--controllers", "*,-nodeipam,-cloud-node-lifecycle-controller",
			"--bind-address", "127.0.0.1", "--v", "1"})...),
		p.component(n, "snapshot-controller", join(fast, []string{
			"--kubeconfig", admin, "--leader-election=false", "--retry-interval-start", "200ms", "--retry-interval-max", "5s"})...),
	}
}

// cluster is what a cluster with nodes has once, besides the controllers.
func (p plan) cluster() []Component {
	n := p.first()
	admin := p.paths.Kubeconfig()
	return []Component{
		p.component(n, "kube-scheduler", "--config", p.paths.In("scheduler.json"), "--bind-address", "127.0.0.1"),
		p.component(n, "csi-snapshotter", "--kubeconfig", admin, "--csi-address", filepath.Join(p.sockets(n), Driver), "--leader-election=false",
			"--kube-api-qps", "500", "--kube-api-burst", "1000",
			"--retry-interval-start", "200ms", "--retry-interval-max", "5s"),
		p.component(n, "coredns", "-conf", p.paths.In("Corefile")),
	}
}

// balancer serves Services of type LoadBalancer.
func (p plan) balancer() Component {
	n := p.first()
	return p.component(n, "balancer", "balancer", "--kubeconfig", p.paths.Kubeconfig(),
		"--pool", p.spec.Balancers(), "--device", nodeDevice)
}

// sockets is the directory of the storage drivers' sockets.
func (p plan) sockets(n Node) string { return p.paths.Of(n, "csi") }

// containerd needs nothing of the cluster and starts with the API server.
func (p plan) containerd(n Node) Component {
	return p.component(n, "containerd", "--config", p.paths.Of(n, "containerd.toml"), "--log-level", "warn")
}

// node is what each node has of its own.
func (p plan) node(n Node) []Component {
	storage := []string{"csi",
		"--root", p.paths.In(diskDir), "--kubelet-dir", p.paths.Of(n, "kubelet"), "--sockets", p.sockets(n),
		"--node", n.Name(), "--kubeconfig", p.paths.Kubeconfig()}
	if n.Number == 1 {
		storage = append(storage, "--provision")
	}
	return []Component{
		p.component(n, "kubelet",
			"--kubeconfig", p.paths.In(n.Name()+".kubeconfig"), "--config", p.paths.Of(n, "kubelet.json"),
			"--root-dir", p.paths.Of(n, "kubelet"), "--cert-dir", p.paths.Of(n, "kubelet-pki"),
			"--hostname-override", n.Name(), "--node-ip", n.Address(), "--v", "2"),
		p.component(n, "kube-proxy", "--config", p.paths.Of(n, "proxy.json"), "--v", "1"),
		p.component(n, "storage", storage...),
	}
}

// rest is everything but the API and containerd.
func (p plan) rest() []Component {
	var rest []Component
	if p.spec.Controllers {
		rest = append(rest, p.controllers()...)
	}
	if p.spec.Nodes > 0 {
		for _, n := range p.spec.Machines() {
			rest = append(rest, p.node(n)...)
		}
		rest = append(rest, p.cluster()...)
	}
	if p.spec.LoadBalancer {
		rest = append(rest, p.balancer())
	}
	return rest
}

// components are all, in the order of their start.
func (p plan) components() []Component {
	all := p.api()
	if p.spec.Nodes > 0 {
		for _, n := range p.spec.Machines() {
			all = append(all, p.containerd(n))
		}
	}
	return append(all, p.rest()...)
}

// containerdSocket is also how the node's shims are recognised: it is on their
// command lines.
func containerdSocket(paths Paths, n Node) string {
	return filepath.Join(paths.Dir, "containerd"+n.suffix()+".sock")
}

func join(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
