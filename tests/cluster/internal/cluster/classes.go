package cluster

// Driver and PlainDriver are the names of the storage drivers; the second one cannot
// take snapshots.
const (
	Driver      = "btrfs.csi.doppel.test"
	PlainDriver = "plain.csi.doppel.test"
)

var storageDrivers = []string{Driver, PlainDriver}

// resource is an object and the path of its collection.
type resource struct {
	Path    string // exported, as the digest covers it
	Content object
}

// classes are the storage drivers and the classes of the README's table, with the
// parameters that storage/internal/driver/faults.go reads.
func classes() []resource {
	var all []resource
	for _, d := range storageDrivers {
		all = append(all, resource{"/apis/storage.k8s.io/v1/csidrivers", object{
			"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": object{"name": d},
			"spec": object{"attachRequired": false, "podInfoOnMount": false, "fsGroupPolicy": "File", "volumeLifecycleModes": []string{"Persistent"}},
		}})
	}
	return append(all,
		storageClass("btrfs", Driver, "Immediate", object{}),
		storageClass("btrfs-wffc", Driver, "WaitForFirstConsumer", object{"pinToNode": "true"}),
		storageClass("btrfs-no-snapshots", PlainDriver, "Immediate", object{}),
		storageClass("btrfs-provision-fails", Driver, "Immediate", object{"provisionFails": "the pool is full"}),
		storageClass("btrfs-provision-fails-twice", Driver, "Immediate", object{"provisionFailures": "2"}),
		storageClass("btrfs-provision-slow", Driver, "Immediate", object{"provisionDelaySeconds": "5"}),
		snapshotClass("btrfs", object{}),
		snapshotClass("btrfs-snapshot-slow", object{"snapshotDelaySeconds": "5"}),
		snapshotClass("btrfs-snapshot-fails", object{"snapshotFails": "the array refuses snapshots"}),
		snapshotClass("btrfs-snapshot-fails-twice", object{"snapshotFailures": "2"}),
		snapshotClass("btrfs-snapshot-never-ready", object{"snapshotNeverReady": "true"}),
	)
}

// defaultClass is the name of both default classes.
const defaultClass = "btrfs"

func storageClass(name, driver, binding string, parameters object) resource {
	return resource{"/apis/storage.k8s.io/v1/storageclasses", object{
		"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
		"metadata":    metadata(name, "storageclass.kubernetes.io/is-default-class"),
		"provisioner": driver, "volumeBindingMode": binding, "parameters": parameters,
	}}
}

func snapshotClass(name string, parameters object) resource {
	return resource{"/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses", object{
		"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
		"metadata": metadata(name, "snapshot.storage.kubernetes.io/is-default-class"),
		"driver":   Driver, "deletionPolicy": "Delete", "parameters": parameters,
	}}
}

func metadata(name, defaultAnnotation string) object {
	m := object{"name": name}
	if name == defaultClass {
		m["annotations"] = object{defaultAnnotation: "true"}
	}
	return m
}
