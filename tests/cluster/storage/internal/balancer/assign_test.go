package balancer

import (
	"net/netip"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pool has two usable addresses, .1 and .2.
var pool = netip.MustParsePrefix("198.18.11.0/30")

func service(name, address string) *v1.Service {
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer},
	}
	if address != "" {
		s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: address}}
	}
	return s
}

func check(t *testing.T, what string, want map[string]string, services ...*v1.Service) {
	t.Helper()
	got := assign(pool, services)
	if len(got) != len(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
	for name, address := range want {
		if got["ns/"+name].String() != address {
			t.Errorf("%s: %s has %v, want %s", what, name, got["ns/"+name], address)
		}
	}
}

func TestEachServiceHasAnAddressOfItsOwnAndKeepsIt(t *testing.T) {
	check(t, "new ones", map[string]string{"a": "198.18.11.1", "b": "198.18.11.2"}, service("b", ""), service("a", ""))
	check(t, "one that has its own", map[string]string{"a": "198.18.11.2", "b": "198.18.11.1"}, service("a", ""), service("b", "198.18.11.1"))
	check(t, "two with one address", map[string]string{"a": "198.18.11.2", "b": "198.18.11.1"}, service("a", "198.18.11.2"), service("b", "198.18.11.2"))
	check(t, "one of another network", map[string]string{"a": "198.18.11.1"}, service("a", "10.0.0.1"))
	check(t, "the network's own address", map[string]string{"a": "198.18.11.1"}, service("a", "198.18.11.0"))
}

func TestAnEmptyPoolLeavesServicesWithout(t *testing.T) {
	check(t, "three for two", map[string]string{"a": "198.18.11.1", "b": "198.18.11.2"}, service("a", ""), service("b", ""), service("c", ""))
}

func TestOtherServicesAreLeftAlone(t *testing.T) {
	class, internal, deleted := service("class", ""), service("internal", "198.18.11.1"), service("deleted", "198.18.11.1")
	name, now := "other", metav1.Now()
	class.Spec.LoadBalancerClass = &name
	internal.Spec.Type = v1.ServiceTypeClusterIP
	deleted.DeletionTimestamp = &now
	check(t, "not ours", map[string]string{}, class, internal, deleted)
}
