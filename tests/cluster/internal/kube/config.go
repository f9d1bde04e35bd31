package kube

import "encoding/json"

// Config is a kubeconfig file with everything in it. JSON is YAML, too.
func Config(cluster, server, token string, authority []byte) ([]byte, error) {
	type object map[string]any
	return json.MarshalIndent(object{
		"apiVersion":      "v1",
		"kind":            "Config",
		"clusters":        []object{{"name": cluster, "cluster": object{"server": server, "certificate-authority-data": authority}}},
		"users":           []object{{"name": cluster, "user": object{"token": token}}},
		"contexts":        []object{{"name": cluster, "context": object{"cluster": cluster, "user": cluster}}},
		"current-context": cluster,
	}, "", "  ")
}
