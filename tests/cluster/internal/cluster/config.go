package cluster

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"doppel/tests/cluster/internal/kube"
	"doppel/tests/cluster/internal/pki"
)

type object = map[string]any

// writeConfig writes keys, tokens and configuration of all components.
func (p plan) writeConfig() error {
	for _, d := range []string{"pki", "log", "bin", "images"} {
		if err := os.MkdirAll(p.paths.In(d), 0o755); err != nil {
			return err
		}
	}
	if err := p.writeKeys(); err != nil {
		return err
	}
	for path, text := range p.files() {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// files are the configuration files of a cluster with nodes, by path.
func (p plan) files() map[string]string {
	files := map[string]string{}
	if p.spec.Nodes == 0 {
		return files
	}
	files[p.paths.In("Corefile")] = p.corefile()
	files[p.paths.In("scheduler.json")] = encode(p.scheduler())
	for _, n := range p.spec.Machines() {
		files[p.paths.Of(n, "kubelet.json")] = encode(p.kubelet(n))
		files[p.paths.Of(n, "proxy.json")] = encode(p.proxy(n))
		files[p.paths.Of(n, "containerd.toml")] = p.containerdConfig(n)
		files[p.paths.In("cni"+n.suffix(), "10-doppel.conflist")] = encode(p.cni(n))
	}
	return files
}

// digest changes with anything that a cluster is started with, but for its keys: a
// cluster of another digest is started anew.
func (p plan) digest() string {
	var rules []string
	for _, n := range p.spec.Machines() {
		rules = append(rules, masquerade(n))
	}
	text := encode([]any{p.components(), p.files(), rules, classes()})
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

func encode(v any) string {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // maps and structures of strings and numbers can always be encoded
	}
	return string(data)
}

func (p plan) writeKeys() error {
	dir := p.paths.In("pki")
	authority, err := pki.New(dir, p.first().Namespace())
	if err != nil {
		return err
	}
	addresses := []net.IP{net.ParseIP(p.first().Address()), net.ParseIP(p.spec.APIService()), net.IPv4(127, 0, 0, 1)}
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", p.spec.Name}
	for file, c := range map[string]pki.Certificate{
		"server":         {CommonName: p.spec.Name, DNS: names, IP: addresses, Usage: x509.ExtKeyUsageServerAuth},
		"kubelet-client": {CommonName: "kube-apiserver", Organization: "system:masters", Usage: x509.ExtKeyUsageClientAuth},
	} {
		if err := authority.Issue(file, c); err != nil {
			return err
		}
	}
	if err := pki.KeyPair(dir, "sa"); err != nil {
		return err
	}
	return p.writeTokens()
}

// writeTokens gives the administrator and each kubelet a token and a kubeconfig.
func (p plan) writeTokens() error {
	authority, err := os.ReadFile(p.pki("ca.crt"))
	if err != nil {
		return err
	}
	var lines []string
	user := func(file, name, groups string) error {
		token, err := pki.Token()
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%s,%s,%s,%q\n", token, name, name, groups))
		data, err := kube.Config(p.spec.Name, p.spec.Server(), token, authority)
		if err != nil {
			return err
		}
		return os.WriteFile(file, data, 0o600)
	}
	if err := user(p.paths.Kubeconfig(), "admin", "system:masters"); err != nil {
		return err
	}
	for _, n := range p.spec.Machines() {
		if err := user(p.paths.In(n.Name()+".kubeconfig"), "system:node:"+n.Name(), "system:nodes"); err != nil {
			return err
		}
	}
	return os.WriteFile(p.pki("tokens.csv"), []byte(strings.Join(lines, "")), 0o600)
}

// connection is how components with a configuration file reach the API server. The
// limits are far above what a test does: none is to wait for its own client.
func connection(kubeconfig string) object {
	return object{"kubeconfig": kubeconfig, "contentType": "application/vnd.kubernetes.protobuf", "qps": 500, "burst": 1000}
}

func (p plan) scheduler() object {
	return object{
		"apiVersion":           "kubescheduler.config.k8s.io/v1",
		"kind":                 "KubeSchedulerConfiguration",
		"clientConnection":     connection(p.paths.Kubeconfig()),
		"leaderElection":       object{"leaderElect": false},
		"podMaxBackoffSeconds": 2, // a pod that waits for its volume is looked at again soon
	}
}

func (p plan) kubelet(n Node) object {
	return object{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"authentication":           object{"anonymous": object{"enabled": false}, "webhook": object{"enabled": true}, "x509": object{"clientCAFile": p.pki("ca.crt")}},
		"authorization":            object{"mode": "Webhook"},
		"containerRuntimeEndpoint": "unix://" + containerdSocket(p.paths, n),
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               "/" + n.Cgroup(),
		"failCgroupV1":             false,
		"failSwapOn":               false,
		"clusterDNS":               []string{p.first().Address()},
		"clusterDomain":            "cluster.local",
		"resolvConf":               "",
		// Only a machine that is all but full evicts pods; images are never collected,
		// as they could not be pulled again.
		"evictionHard":                object{"memory.available": "100Mi", "nodefs.available": "200Mi", "imagefs.available": "50Mi"},
		"imageMinimumGCAge":           "87600h",
		"imageGCHighThresholdPercent": 100,
		"serializeImagePulls":         false,
		"kubeAPIQPS":                  500,
		"kubeAPIBurst":                1000,
		"eventRecordQPS":              0, // no limit
		"syncFrequency":               "10s",
		"volumePluginDir":             p.paths.Of(n, "flex"),
		"podLogsDir":                  p.paths.Of(n, "podlogs"),
		"shutdownGracePeriod":         "0s",
	}
}

func (p plan) proxy(n Node) object {
	return object{
		"apiVersion":       "kubeproxy.config.k8s.io/v1alpha1",
		"kind":             "KubeProxyConfiguration",
		"clientConnection": connection(p.paths.Kubeconfig()),
		"hostnameOverride": n.Name(),
		"mode":             "nftables",
		"nftables":         object{"minSyncPeriod": "100ms", "syncPeriod": "1h"},
		"detectLocalMode":  "InterfaceNamePrefix",
		"detectLocal":      object{"interfaceNamePrefix": "veth"},
		// The sysctls of connection tracking cannot be set in a network namespace.
		"conntrack": object{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
	}
}

func (p plan) containerdConfig(n Node) string {
	return fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_tcp_service = true
  # A machine may lack CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  device_ownership_from_security_context = true
  # Otherwise the pods' namespaces would be mounted outside the state directory.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
[plugins."io.containerd.internal.v1.opt"]
  path = %q
`,
		p.paths.In(fastDir, "containerd"+n.suffix()), p.paths.In(fastDir, "containerd-state"+n.suffix()), containerdSocket(p.paths, n),
		pauseImage, cniPlugins, p.paths.In("cni"+n.suffix()), p.paths.In("opt"+n.suffix()))
}

// cniPlugins is where Debian's containernetworking-plugins is.
const cniPlugins = "/usr/lib/cni"

// cni gives each pod a cable of its own to the node, which routes: there is no bridge
// whose inner traffic would have to be shown to the Service rules. The node's own
// rule masquerades (network.go).
func (p plan) cni(n Node) object {
	return object{
		"cniVersion": "1.0.0",
		"name":       "doppel",
		"plugins": []object{{
			"type": "ptp",
			"ipam": object{
				"type": "host-local", "dataDir": p.paths.In(fastDir, "ipam"+n.suffix()),
				"ranges": [][]object{{{"subnet": n.Pods()}}},
				"routes": []object{{"dst": "0.0.0.0/0"}},
			},
		}},
	}
}

func (p plan) corefile() string {
	return fmt.Sprintf(`.:53 {
  bind %s
  errors
  kubernetes cluster.local {
    kubeconfig %s
  }
}
`, p.first().Address(), p.paths.Kubeconfig())
}
