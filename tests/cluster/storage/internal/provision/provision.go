// Package provision makes volumes for claims: what external-provisioner does (it cannot
// be had as a Go module), for drivers in the same process.
package provision

import (
	"context"
	"errors"
	"time"

	"doppel/tests/cluster/storage/internal/driver"
	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// Retries begin soon and stay frequent: the library's default starts at 15 s.
const (
	retryFirst = 200 * time.Millisecond
	retryLast  = 5 * time.Second
)

// workers bounds how many volumes are made at a time; one of a slow class takes a
// worker all the while.
const workers = 16

type provisioner struct {
	driver  *driver.Driver
	client  kubernetes.Interface
	dynamic dynamic.Interface
}

// Run provisions for one driver until the context ends.
func Run(ctx context.Context, config *rest.Config, d *driver.Driver) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	controller.NewProvisionController(ctx, client, d.Name(), provisioner{d, client, dynamicClient},
		controller.LeaderElection(false),
		controller.Threadiness(workers),
		controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](retryFirst, retryLast)),
	).Run(ctx)
	return ctx.Err()
}

// SupportsBlock is asked for by the library before it provisions a block volume.
func (p provisioner) SupportsBlock(context.Context) bool { return true }

// Provision makes the volume of one claim.
func (p provisioner) Provision(ctx context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	size := o.PVC.Spec.Resources.Requests[v1.ResourceStorage]
	mode := v1.PersistentVolumeFilesystem
	if o.PVC.Spec.VolumeMode != nil {
		mode = *o.PVC.Spec.VolumeMode
	}
	content, err := p.content(ctx, o.PVC)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	made, err := p.driver.CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name:                o.PVName,
		CapacityRange:       &csi.CapacityRange{RequiredBytes: size.Value()},
		Parameters:          o.StorageClass.Parameters,
		VolumeCapabilities:  []*csi.VolumeCapability{capability(mode)},
		VolumeContentSource: content,
	})
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			MountOptions:                  o.StorageClass.MountOptions,
			VolumeMode:                    &mode,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: size},
			NodeAffinity:                  affinity(o),
			PersistentVolumeSource: v1.PersistentVolumeSource{
				CSI: &v1.CSIPersistentVolumeSource{Driver: p.driver.Name(), VolumeHandle: made.Volume.VolumeId},
			},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes the volume of a PersistentVolume that was released.
func (p provisioner) Delete(ctx context.Context, pv *v1.PersistentVolume) error {
	if pv.Spec.CSI == nil || pv.Spec.CSI.Driver != p.driver.Name() {
		return &controller.IgnoredError{Reason: "another driver's volume"}
	}
	_, err := p.driver.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: pv.Spec.CSI.VolumeHandle})
	return err
}

func capability(mode v1.PersistentVolumeMode) *csi.VolumeCapability {
	if mode == v1.PersistentVolumeBlock {
		return &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}}
	}
	return &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}}}
}

// affinity keeps a volume on the node it was made for, if its class asks for that.
func affinity(o controller.ProvisionOptions) *v1.VolumeNodeAffinity {
	if o.SelectedNodeName == "" || o.StorageClass.Parameters[driver.ParamPin] != "true" {
		return nil
	}
	return &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
		MatchExpressions: []v1.NodeSelectorRequirement{{
			Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{o.SelectedNodeName},
		}},
	}}}}
}

// content finds what the claim's data source stands for.
func (p provisioner) content(ctx context.Context, claim *v1.PersistentVolumeClaim) (*csi.VolumeContentSource, error) {
	source := claim.Spec.DataSourceRef
	switch {
	case source == nil:
		return nil, nil
	case source.Kind == "PersistentVolumeClaim" && (source.APIGroup == nil || *source.APIGroup == ""):
		return p.clone(ctx, claim.Namespace, source.Name)
	case source.Kind == "VolumeSnapshot" && source.APIGroup != nil && *source.APIGroup == snapshotGroup:
		return p.restore(ctx, claim.Namespace, source.Name)
	default:
		return nil, &controller.IgnoredError{Reason: "the claim is for a populator of " + source.Kind}
	}
}

func (p provisioner) clone(ctx context.Context, namespace, name string) (*csi.VolumeContentSource, error) {
	from, err := p.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if from.Status.Phase != v1.ClaimBound {
		return nil, status.Errorf(codes.Unavailable, "claim %s, to be cloned, is not bound", name)
	}
	pv, err := p.client.CoreV1().PersistentVolumes().Get(ctx, from.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if pv.Spec.CSI == nil || pv.Spec.CSI.Driver != p.driver.Name() {
		return nil, status.Errorf(codes.InvalidArgument, "claim %s, to be cloned, is of another driver", name)
	}
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
		Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: pv.Spec.CSI.VolumeHandle},
	}}, nil
}

const snapshotGroup = "snapshot.storage.k8s.io"

func (p provisioner) restore(ctx context.Context, namespace, name string) (*csi.VolumeContentSource, error) {
	resource := func(plural string) dynamic.NamespaceableResourceInterface {
		return p.dynamic.Resource(schema.GroupVersionResource{Group: snapshotGroup, Version: "v1", Resource: plural})
	}
	snapshot, err := resource("volumesnapshots").Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	ready, _, err := unstructured.NestedBool(snapshot.Object, "status", "readyToUse")
	contentName, _, nameErr := unstructured.NestedString(snapshot.Object, "status", "boundVolumeSnapshotContentName")
	if err := errors.Join(err, nameErr); err != nil {
		return nil, err
	}
	if !ready || contentName == "" {
		return nil, status.Errorf(codes.Unavailable, "snapshot %s is not ready to use", name)
	}
	content, err := resource("volumesnapshotcontents").Get(ctx, contentName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if d, _, _ := unstructured.NestedString(content.Object, "spec", "driver"); d != p.driver.Name() {
		return nil, status.Errorf(codes.InvalidArgument, "snapshot %s is of another driver, %s", name, d)
	}
	handle, found, err := unstructured.NestedString(content.Object, "status", "snapshotHandle")
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, status.Errorf(codes.Unavailable, "snapshot content %s names no snapshot", contentName)
	}
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
		Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: handle},
	}}, nil
}
