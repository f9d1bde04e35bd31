// Command csi-btrfs is a CSI driver for one node: a volume is a btrfs subvolume
// (or, for block mode, a file in one, attached by a loop device), a snapshot is a
// read-only subvolume, a clone or a restore is a writable one.
package main

import (
	"context"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const name = "btrfs.csi.doppel.test"

type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	root, node string
}

func run(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return status.Errorf(codes.Internal, "%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (d *driver) volume(id string) string   { return filepath.Join(d.root, "volumes", id) }
func (d *driver) snapshot(id string) string { return filepath.Join(d.root, "snapshots", id) }
func exists(p string) bool                  { _, err := os.Lstat(p); return err == nil }

// Identity

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: name, VendorVersion: "0"}, nil
}
func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{{
		Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}}}}, nil
}
func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

// Controller

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	var caps []*csi.ControllerServiceCapability
	for _, t := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
	} {
		caps = append(caps, &csi.ControllerServiceCapability{Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}}})
	}
	return &csi.ControllerGetCapabilitiesResponse{Capabilities: caps}, nil
}

func (d *driver) CreateVolume(_ context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	size := r.GetCapacityRange().GetRequiredBytes()
	path := d.volume(r.Name)
	block := len(r.VolumeCapabilities) > 0 && r.VolumeCapabilities[0].GetBlock() != nil
	if !exists(path) {
		src := ""
		if s := r.GetVolumeContentSource().GetSnapshot(); s != nil {
			src = d.snapshot(s.SnapshotId)
		} else if v := r.GetVolumeContentSource().GetVolume(); v != nil {
			src = d.volume(v.VolumeId)
		}
		if src != "" {
			if !exists(src) {
				return nil, status.Error(codes.NotFound, src)
			}
			if err := run("btrfs", "subvolume", "snapshot", src, path); err != nil {
				return nil, err
			}
		} else if err := run("btrfs", "subvolume", "create", path); err != nil {
			return nil, err
		}
		if block {
			if err := run("truncate", "-s", ">"+strconv.FormatInt(size, 10), filepath.Join(path, "disk.img")); err != nil {
				return nil, err
			}
		} else {
			if src == "" {
				os.Chmod(path, 0o777)
			}
			if err := run("btrfs", "qgroup", "limit", strconv.FormatInt(size, 10), path); err != nil {
				return nil, err
			}
		}
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: r.Name, CapacityBytes: size, ContentSource: r.VolumeContentSource}}, nil
}

func (d *driver) DeleteVolume(_ context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if p := d.volume(r.VolumeId); exists(p) {
		if err := run("btrfs", "subvolume", "delete", p); err != nil {
			return nil, err
		}
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (d *driver) CreateSnapshot(_ context.Context, r *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	p := d.snapshot(r.Name)
	if !exists(p) {
		if err := run("btrfs", "subvolume", "snapshot", "-r", d.volume(r.SourceVolumeId), p); err != nil {
			return nil, err
		}
	}
	return &csi.CreateSnapshotResponse{Snapshot: &csi.Snapshot{SnapshotId: r.Name, SourceVolumeId: r.SourceVolumeId, CreationTime: timestamppb.Now(), ReadyToUse: true}}, nil
}

func (d *driver) DeleteSnapshot(_ context.Context, r *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	if p := d.snapshot(r.SnapshotId); exists(p) {
		if err := run("btrfs", "subvolume", "delete", p); err != nil {
			return nil, err
		}
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

// Node

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.node}, nil
}
func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{}, nil
}
func (d *driver) NodePublishVolume(_ context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	src := d.volume(r.VolumeId)
	if r.VolumeCapability.GetBlock() != nil {
		out, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", filepath.Join(src, "disk.img")).CombinedOutput()
		if err != nil {
			return nil, status.Errorf(codes.Internal, "losetup: %v: %s", err, out)
		}
		src = strings.TrimSpace(string(out))
		os.MkdirAll(filepath.Dir(r.TargetPath), 0o755)
		f, err := os.OpenFile(r.TargetPath, os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		f.Close()
	} else {
		os.MkdirAll(r.TargetPath, 0o755)
	}
	var st unix.Stat_t
	if err := run("mount", "--bind", src, r.TargetPath); err != nil {
		return nil, err
	}
	_ = st
	if r.Readonly {
		if err := run("mount", "-o", "remount,bind,ro", r.TargetPath); err != nil {
			return nil, err
		}
	}
	return &csi.NodePublishVolumeResponse{}, nil
}
func (d *driver) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if exists(r.TargetPath) {
		exec.Command("umount", r.TargetPath).Run()
		img := filepath.Join(d.volume(r.VolumeId), "disk.img")
		if out, _ := exec.Command("losetup", "-n", "-O", "NAME", "-j", img).Output(); len(out) > 0 {
			for _, l := range strings.Fields(string(out)) {
				exec.Command("losetup", "-d", l).Run()
			}
		}
		os.RemoveAll(r.TargetPath)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// Kubelet registration

type registrar struct {
	registration.UnimplementedRegistrationServer
	socket string
}

func (r registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: name, Endpoint: r.socket, SupportedVersions: []string{"1.0.0"}}, nil
}
func (r registrar) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	klog.Infof("registered=%v %s", s.PluginRegistered, s.Error)
	return &registration.RegistrationStatusResponse{}, nil
}

// Provisioner: what external-provisioner does, for this one driver.

type provisioner struct {
	d   *driver
	kc  kubernetes.Interface
	dyn dynamic.Interface
}

func (p provisioner) Provision(ctx context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	pvc := o.PVC
	q := pvc.Spec.Resources.Requests[v1.ResourceStorage]
	req := &csi.CreateVolumeRequest{Name: o.PVName, CapacityRange: &csi.CapacityRange{RequiredBytes: q.Value()}, Parameters: o.StorageClass.Parameters}
	mode := v1.PersistentVolumeFilesystem
	if pvc.Spec.VolumeMode != nil {
		mode = *pvc.Spec.VolumeMode
	}
	cap := &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}}}
	if mode == v1.PersistentVolumeBlock {
		cap.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	}
	req.VolumeCapabilities = []*csi.VolumeCapability{cap}
	if ds := pvc.Spec.DataSourceRef; ds != nil {
		switch {
		case ds.Kind == "PersistentVolumeClaim":
			c, err := p.kc.CoreV1().PersistentVolumeClaims(pvc.Namespace).Get(ctx, ds.Name, metav1.GetOptions{})
			if err != nil {
				return nil, controller.ProvisioningFinished, err
			}
			req.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: c.Spec.VolumeName}}}
		case ds.Kind == "VolumeSnapshot":
			g := schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshots"}
			s, err := p.dyn.Resource(g).Namespace(pvc.Namespace).Get(ctx, ds.Name, metav1.GetOptions{})
			if err != nil {
				return nil, controller.ProvisioningFinished, err
			}
			st, _ := s.Object["status"].(map[string]any)
			cn, _ := st["boundVolumeSnapshotContentName"].(string)
			ready, _ := st["readyToUse"].(bool)
			if !ready {
				return nil, controller.ProvisioningFinished, status.Errorf(codes.Unavailable, "snapshot %s is not ready", ds.Name)
			}
			g.Resource = "volumesnapshotcontents"
			c, err := p.dyn.Resource(g).Get(ctx, cn, metav1.GetOptions{})
			if err != nil {
				return nil, controller.ProvisioningFinished, err
			}
			handle, _ := c.Object["status"].(map[string]any)["snapshotHandle"].(string)
			req.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: handle}}}
		default:
			return nil, controller.ProvisioningFinished, &controller.IgnoredError{Reason: "a populator's claim"}
		}
	}
	resp, err := p.d.CreateVolume(ctx, req)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   pvc.Spec.AccessModes,
			VolumeMode:                    &mode,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: q},
			PersistentVolumeSource:        v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{Driver: name, VolumeHandle: resp.Volume.VolumeId}},
		},
	}, controller.ProvisioningFinished, nil
}

func (p provisioner) Delete(ctx context.Context, pv *v1.PersistentVolume) error {
	_, err := p.d.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: pv.Spec.CSI.VolumeHandle})
	return err
}

func serve(path string, register func(*grpc.Server)) {
	os.Remove(path)
	os.MkdirAll(filepath.Dir(path), 0o755)
	l, err := net.Listen("unix", path)
	if err != nil {
		klog.Fatal(err)
	}
	s := grpc.NewServer()
	register(s)
	klog.Fatal(s.Serve(l))
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "crds" {
		if err := printCRDs(os.Args[2]); err != nil {
			klog.Fatal(err)
		}
		return
	}
	klog.InitFlags(nil)
	root := flag.String("root", "", "btrfs mount")
	kubeletDir := flag.String("kubelet-dir", "", "kubelet root dir")
	socket := flag.String("socket", "", "CSI socket")
	node := flag.String("node", "", "node name")
	config := flag.String("kubeconfig", "", "")
	flag.Parse()
	d := &driver{root: *root, node: *node}
	os.MkdirAll(filepath.Join(*root, "volumes"), 0o755)
	os.MkdirAll(filepath.Join(*root, "snapshots"), 0o755)
	go serve(*socket, func(s *grpc.Server) {
		csi.RegisterIdentityServer(s, d)
		csi.RegisterControllerServer(s, d)
		csi.RegisterNodeServer(s, d)
	})
	go serve(filepath.Join(*kubeletDir, "plugins_registry", name+"-reg.sock"), func(s *grpc.Server) {
		registration.RegisterRegistrationServer(s, registrar{socket: *socket})
	})
	rc, err := clientcmd.BuildConfigFromFlags("", *config)
	if err != nil {
		klog.Fatal(err)
	}
	rc.QPS, rc.Burst = 100, 200
	kc := kubernetes.NewForConfigOrDie(rc)
	ctx := context.Background()
	_ = time.Second
	controller.NewProvisionController(ctx, kc, name, provisioner{d, kc, dynamic.NewForConfigOrDie(rc)}, controller.LeaderElection(false), controller.Threadiness(4), controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](200*time.Millisecond, 5*time.Second))).Run(ctx)
}

func (p provisioner) SupportsBlock(context.Context) bool { return true }
