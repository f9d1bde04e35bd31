package driver

import (
	"context"
	"os"
	"time"

	"doppel/tests/cluster/storage/internal/btrfs"
	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// ControllerGetCapabilities lists what the driver can do.
func (d *Driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	types := []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
	}
	if d.snapshots {
		types = append(types, csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT)
	}
	var caps []*csi.ControllerServiceCapability
	for _, t := range types {
		caps = append(caps, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}},
		})
	}
	return &csi.ControllerGetCapabilitiesResponse{Capabilities: caps}, nil
}

// CreateVolume makes a volume, empty or with the content of another or a snapshot.
func (d *Driver) CreateVolume(ctx context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if err := d.faults.provision(ctx, r.Name, r.Parameters); err != nil {
		return nil, err
	}
	wanted := record{Size: r.GetCapacityRange().GetRequiredBytes()}
	for _, c := range r.VolumeCapabilities {
		wanted.Block = wanted.Block || c.GetBlock() != nil
	}
	source, err := d.content(r.VolumeContentSource, wanted)
	if err != nil {
		return nil, err
	}
	made, err := d.store.create(volumes, r.Name, wanted, func(path string) error { return makeVolume(path, source, wanted) })
	if err != nil {
		return nil, err
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: r.Name, CapacityBytes: made.Size, ContentSource: r.VolumeContentSource}}, nil
}

// content finds the subvolume that a new volume begins with, "" for none.
func (d *Driver) content(source *csi.VolumeContentSource, wanted record) (string, error) {
	var k kind
	var id string
	switch {
	case source.GetSnapshot() != nil:
		k, id = snapshots, source.GetSnapshot().SnapshotId
	case source.GetVolume() != nil:
		k, id = volumes, source.GetVolume().VolumeId
	default:
		return "", nil
	}
	from, err := d.store.get(k, id)
	if err != nil {
		return "", err
	}
	if from.Size > wanted.Size {
		return "", status.Errorf(codes.OutOfRange, "requested size %d is less than the size %d of %s", wanted.Size, from.Size, id)
	}
	if from.Block != wanted.Block {
		return "", status.Errorf(codes.InvalidArgument, "%s has the other volume mode", id)
	}
	return d.store.path(k, id)
}

// DeleteVolume removes a volume.
func (d *Driver) DeleteVolume(_ context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	return &csi.DeleteVolumeResponse{}, d.store.remove(volumes, r.VolumeId)
}

// CreateSnapshot takes a snapshot at once, whenever it is to become ready: called again,
// it says of the same one how it stands.
func (d *Driver) CreateSnapshot(_ context.Context, r *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	if !d.snapshots {
		return nil, status.Errorf(codes.Unimplemented, "%s takes no snapshots", d.name)
	}
	delay, becomesReady, err := d.faults.snapshot(r.Name, r.Parameters)
	if err != nil {
		return nil, err
	}
	volume, err := d.store.get(volumes, r.SourceVolumeId)
	if err != nil {
		return nil, err
	}
	source, err := d.store.path(volumes, r.SourceVolumeId)
	if err != nil {
		return nil, err
	}
	wanted := record{Size: volume.Size, Block: volume.Block, Source: r.SourceVolumeId}
	taken, err := d.store.create(snapshots, r.Name, wanted, func(path string) error {
		return btrfs.Snapshot(source, path, btrfs.ReadOnly)
	})
	if err != nil {
		return nil, err
	}
	return &csi.CreateSnapshotResponse{Snapshot: &csi.Snapshot{
		SnapshotId: r.Name, SourceVolumeId: r.SourceVolumeId, SizeBytes: taken.Size,
		CreationTime: timestamppb.New(taken.Created),
		ReadyToUse:   becomesReady && time.Since(taken.Created) >= delay,
	}}, nil
}

// DeleteSnapshot removes a snapshot. What was restored from it stays.
func (d *Driver) DeleteSnapshot(_ context.Context, r *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	return &csi.DeleteSnapshotResponse{}, d.store.remove(snapshots, r.SnapshotId)
}

// exists says whether there is anything at the path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
