// Package driver is the CSI driver of the test clusters: a volume is a btrfs subvolume
// or, for block mode, a file in one that a loop device shows; a snapshot is a read-only
// subvolume; a clone or a restore is a writable one. All nodes of a cluster share one
// file system. Faults are asked for by class parameters (faults.go).
package driver

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"k8s.io/klog/v2"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Driver answers under one name. Several drivers may share a store.
type Driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	name, node string
	snapshots  bool
	store      *store
	faults     *faults
}

// Options of a driver.
type Options struct {
	Name      string
	Node      string
	Root      string // where the btrfs file system is mounted
	Snapshots bool   // whether it can take any
}

// New makes a driver and the directories of its store.
func New(o Options) (*Driver, error) {
	store, err := newStore(o.Root)
	return &Driver{name: o.Name, node: o.Node, snapshots: o.Snapshots, store: store, faults: newFaults()}, err
}

// Name is what CSIDriver objects and classes call it.
func (d *Driver) Name() string { return d.name }

// Serve answers on the socket, and registers it with the kubelet whose directory of
// plugins is given. It returns only if it fails.
func (d *Driver) Serve(socket, plugins string) error {
	failed := make(chan error, 2)
	go func() {
		failed <- serve(socket, func(s *grpc.Server) {
			csi.RegisterIdentityServer(s, d)
			csi.RegisterControllerServer(s, d)
			csi.RegisterNodeServer(s, d)
		})
	}()
	go func() {
		failed <- serve(filepath.Join(plugins, d.name+"-reg.sock"), func(s *grpc.Server) {
			registration.RegisterRegistrationServer(s, registrar{name: d.name, socket: socket})
		})
	}()
	return <-failed
}

func serve(path string, register func(*grpc.Server)) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(log))
	register(server)
	return server.Serve(listener)
}

// log writes every call that failed; the others would only fill the disk.
func log(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	response, err := handle(ctx, request)
	if err != nil {
		if _, known := status.FromError(err); !known {
			err = status.Error(codes.Internal, err.Error())
		}
		klog.Errorf("%s: %v", info.FullMethod, err)
	}
	return response, err
}

// GetPluginInfo names the driver.
func (d *Driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: d.name, VendorVersion: "1"}, nil
}

// GetPluginCapabilities says that volumes are made by calls.
func (d *Driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{{
		Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}},
	}}}, nil
}

// Probe says that the driver works.
func (d *Driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

// registrar tells the kubelet where the driver is, as node-driver-registrar does.
type registrar struct {
	registration.UnimplementedRegistrationServer
	name, socket string
}

func (r registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: r.name, Endpoint: r.socket, SupportedVersions: []string{"1.0.0"}}, nil
}

func (r registrar) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	klog.Infof("Driver %s registered=%v %s", r.name, s.PluginRegistered, s.Error)
	return &registration.RegistrationStatusResponse{}, nil
}
