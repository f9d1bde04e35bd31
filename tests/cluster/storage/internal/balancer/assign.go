package balancer

import (
	"net/netip"
	"sort"

	v1 "k8s.io/api/core/v1"
)

// assignment is what ought to be: the address of each Service that is to have one.
type assignment map[string]netip.Addr // by namespace/name

// assign gives each Service of type LoadBalancer an address of the pool. One that has
// its own already keeps it, so that the same Services give the same addresses again.
// Services that find the pool empty are left out.
func assign(pool netip.Prefix, services []*v1.Service) assignment {
	var waiting []*v1.Service
	assigned, taken := assignment{}, map[netip.Addr]bool{}
	for _, s := range oldestFirst(services) {
		if !wants(s) {
			continue
		}
		address, ok := current(pool, s)
		if !ok || taken[address] {
			waiting = append(waiting, s)
			continue
		}
		assigned[key(s)], taken[address] = address, true
	}
	next := pool.Addr().Next()
	for _, s := range waiting {
		for taken[next] {
			next = next.Next()
		}
		if !usable(pool, next) {
			break
		}
		assigned[key(s)], taken[next] = next, true
	}
	return assigned
}

// wants says whether the Service is this controller's: a class names another one.
func wants(s *v1.Service) bool {
	return s.Spec.Type == v1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil && s.DeletionTimestamp == nil
}

// current is the address that the Service's status has, if it is of the pool.
func current(pool netip.Prefix, s *v1.Service) (netip.Addr, bool) {
	if len(s.Status.LoadBalancer.Ingress) != 1 {
		return netip.Addr{}, false
	}
	address, err := netip.ParseAddr(s.Status.LoadBalancer.Ingress[0].IP)
	return address, err == nil && usable(pool, address)
}

// usable leaves out the first and the last address, as networks do.
func usable(pool netip.Prefix, a netip.Addr) bool {
	return pool.Contains(a) && pool.Contains(a.Next()) && a != pool.Masked().Addr()
}

func key(s *v1.Service) string { return s.Namespace + "/" + s.Name }

func oldestFirst(services []*v1.Service) []*v1.Service {
	sorted := append([]*v1.Service{}, services...)
	sort.Slice(sorted, func(i, j int) bool {
		a, b := sorted[i], sorted[j]
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return a.CreationTimestamp.Before(&b.CreationTimestamp)
		}
		return key(a) < key(b)
	})
	return sorted
}
