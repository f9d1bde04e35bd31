package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"doppel/tests/cluster/internal/kube"
)

const crdsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// defineSnapshots creates the definitions of the snapshot API.
func (s *starter) defineSnapshots(ctx context.Context, client *kube.Client) error {
	data, err := os.ReadFile(s.set.CRDs())
	if err != nil {
		return err
	}
	var crds []object
	if err := json.Unmarshal(data, &crds); err != nil {
		return fmt.Errorf("%s: %w", s.set.CRDs(), err)
	}
	for _, crd := range crds {
		if err := s.apply(ctx, client, crdsPath, crd); err != nil {
			return err
		}
	}
	return nil
}

// AwaitCRDs waits until the server serves what every definition defines. `kubectl wait` cannot:
// it fails at once where it meets one that has no conditions yet, which they begin with as null.
func AwaitCRDs(ctx context.Context, state, name string) error {
	p, s, err := running(state, name)
	if err != nil {
		return err
	}
	client, err := s.client(p)
	if err != nil {
		return err
	}
	alive := func() error {
		for _, component := range s.Dead() {
			return fmt.Errorf("%s ended", component)
		}
		return nil
	}
	return kube.Await(ctx, 30*time.Second, alive, func(ctx context.Context) error {
		var found crdList
		if err := client.Get(ctx, crdsPath, &found); err != nil {
			return err
		}
		return found.established()
	})
}

// crdList is what a list of definitions says of their state.
type crdList struct {
	Items []struct {
		Metadata struct{ Name string }
		Status   struct {
			Conditions []struct{ Type, Status string }
		}
	}
}

// established names a definition that is not served yet.
func (l crdList) established() error {
	for _, crd := range l.Items {
		served := false
		for _, condition := range crd.Status.Conditions {
			served = served || condition.Type == "Established" && condition.Status == "True"
		}
		if !served {
			return fmt.Errorf("CustomResourceDefinition %s is not established: its conditions are %v", crd.Metadata.Name, crd.Status.Conditions)
		}
	}
	return nil
}
