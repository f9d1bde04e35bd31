//go:build cluster

package live

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const server = `
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: doppel.test/busybox:1
    command: [/bin/sh, -c, "mkdir /www && echo answer of $HOSTNAME >/www/index.html && busybox httpd -f -p 8080 -h /www"]
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec: {type: LoadBalancer, selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {type: LoadBalancer, selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
`

// client is a pod that asks for the page until there is an answer. It does so with nc:
// the wget of Debian's busybox-static crashes.
func client(name, host string) string {
	const script = `i=0; until printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 HOST 80 | grep answer; do i=$((i+1)); [ $i -lt 50 ] || exit 1; sleep 0.1; done`
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: doppel.test/busybox:1
    command: [/bin/sh, -c, %q]
---
`, name, strings.Replace(script, "HOST", host, 1))
}

const ingress = "jsonpath={.status.loadBalancer.ingress[0].ip}"

func TestAPodReachesALoadBalancerServiceOfAnotherCluster(t *testing.T) {
	up(t, one, two)
	here, there := namespace(t, one), namespace(t, two)
	apply(t, two, there, server)
	var addresses []netip.Addr
	for _, name := range []string{"server", "other"} {
		var text string
		for deadline := time.Now().Add(10 * time.Second); text == "" && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			text = kubectl(t, two, "get", "service", "-n", there, name, "-o", ingress)
		}
		address, err := netip.ParseAddr(text)
		if err != nil {
			t.Fatalf("Service %s has address %q", name, text)
		}
		addresses = append(addresses, address)
	}
	if addresses[0] == addresses[1] {
		t.Errorf("both Services have %s", addresses[0])
	}
	url := addresses[0].String()
	started := time.Now()
	apply(t, one, here, client("across", url))
	if got := finished(t, one, here, "across"); got != "answer of server" {
		t.Errorf("from the other cluster: %q", got)
	}
	t.Logf("a pod of %s got the answer of %s %.1f s after kubectl apply began", one, url, time.Since(started).Seconds())
	apply(t, two, there, client("within", url)+client("byname", "server."+there+".svc.cluster.local"))
	for _, name := range []string{"within", "byname"} {
		if got := finished(t, two, there, name); got != "answer of server" {
			t.Errorf("%s: %q", name, got)
		}
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(url, "80"), 2*time.Second)
	if err != nil {
		t.Fatalf("from the host: %v", err)
	}
	_ = conn.Close()
	kubectl(t, two, "delete", "service", "-n", there, "server")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if !strings.Contains(run(t, "exec", two, "--", "ip", "-4", "addr"), url+"/") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s stays after its Service is gone", url)
		}
	}
}
