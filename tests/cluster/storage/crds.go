package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// printCRDs prints the CustomResourceDefinitions in a directory of YAML files as one
// JSON array.
func printCRDs(args []string) error {
	if len(args) != 1 {
		return errors.New("want one directory")
	}
	dir := args[0]
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	var crds []map[string]any
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		for _, document := range strings.Split(string(data), "\n---") {
			var object map[string]any
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
			if object["kind"] == "CustomResourceDefinition" {
				delete(object, "status") // an empty one, which is the server's to write
				crds = append(crds, object)
			}
		}
	}
	if len(crds) == 0 {
		return fmt.Errorf("no CustomResourceDefinition in %s", dir)
	}
	return json.NewEncoder(os.Stdout).Encode(crds)
}
