// Package balancer gives Services of type LoadBalancer an address each. It puts the
// address on an interface of the node, so that the node answers for it on the network,
// and into the Service's status; kube-proxy does the rest.
package balancer

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// retry is how long after a failure all is tried again.
const retry = time.Second

type balancer struct {
	client   kubernetes.Interface
	services listers.ServiceLister
	pool     netip.Prefix
	device   string
}

// Run keeps addresses and statuses right until the context ends. Every change of any
// Service leads to a look at all of them: there are few.
func Run(ctx context.Context, config *rest.Config, pool netip.Prefix, device string) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services()
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // a look is due already
		}
	}
	_, err = services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		UpdateFunc: func(any, any) { notify() },
		DeleteFunc: func(any) { notify() },
	})
	if err != nil {
		return err
	}
	b := &balancer{client, services.Lister(), pool, device}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	notify()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		if err := b.reconcile(ctx); err != nil {
			klog.Errorf("Services were not served: %v", err)
			time.AfterFunc(retry, notify)
		}
	}
}

func (b *balancer) reconcile(ctx context.Context) error {
	services, err := b.services.List(labels.Everything())
	if err != nil {
		return err
	}
	assigned := assign(b.pool, services)
	if err := b.setAddresses(assigned); err != nil {
		return err
	}
	for _, s := range services {
		if err := b.setStatus(ctx, s, assigned); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err // a conflict or a Service that is gone is followed by an event
		}
	}
	return nil
}

// setStatus writes the address, or removes one of the pool that is not the Service's.
func (b *balancer) setStatus(ctx context.Context, s *v1.Service, assigned assignment) error {
	address, ok := assigned[key(s)]
	now, had := current(b.pool, s)
	if (ok && had && now == address) || (!ok && !had) {
		return nil
	}
	updated := s.DeepCopy()
	updated.Status.LoadBalancer = v1.LoadBalancerStatus{}
	if ok {
		updated.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: address.String()}}
	}
	_, err := b.client.CoreV1().Services(s.Namespace).UpdateStatus(ctx, updated, metav1.UpdateOptions{})
	if err == nil {
		klog.Infof("Service %s has address %v", key(s), updated.Status.LoadBalancer.Ingress)
	}
	return err
}

// setAddresses makes the device's addresses of the pool those that are assigned.
func (b *balancer) setAddresses(assigned assignment) error {
	wanted := map[netip.Addr]bool{}
	for _, a := range assigned {
		wanted[a] = true
	}
	have, err := b.addresses()
	if err != nil {
		return err
	}
	for a := range have {
		if !wanted[a] {
			if err := ip("addr", "del", a.String()+"/32", "dev", b.device); err != nil {
				return err
			}
		}
	}
	for a := range wanted {
		if !have[a] {
			if err := ip("addr", "add", a.String()+"/32", "dev", b.device); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *balancer) addresses() (map[netip.Addr]bool, error) {
	out, err := exec.Command("ip", "-4", "-oneline", "addr", "show", "dev", b.device).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ip addr show %s: %w: %s", b.device, err, out)
	}
	have := map[netip.Addr]bool{}
	for _, field := range strings.Fields(string(out)) {
		if p, err := netip.ParsePrefix(field); err == nil && b.pool.Contains(p.Addr()) {
			have[p.Addr()] = true
		}
	}
	return have, nil
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
