package cluster

// Driver is the name of the storage driver.
const Driver = "btrfs.csi.doppel.test"

// resource is an object and the path of its collection.
type resource struct {
	path    string
	content object
}

// classes are the storage driver, its StorageClasses and its VolumeSnapshotClasses.
func classes() []resource {
	return []resource{
		{"/apis/storage.k8s.io/v1/csidrivers", object{
			"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": object{"name": Driver},
			"spec": object{"attachRequired": false, "podInfoOnMount": false, "fsGroupPolicy": "File", "volumeLifecycleModes": []string{"Persistent"}},
		}},
		{"/apis/storage.k8s.io/v1/storageclasses", object{
			"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
			"metadata":    object{"name": "btrfs", "annotations": object{"storageclass.kubernetes.io/is-default-class": "true"}},
			"provisioner": Driver, "volumeBindingMode": "Immediate",
		}},
		{"/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses", object{
			"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
			"metadata": object{"name": "btrfs", "annotations": object{"snapshot.storage.kubernetes.io/is-default-class": "true"}},
			"driver":   Driver, "deletionPolicy": "Delete",
		}},
	}
}
