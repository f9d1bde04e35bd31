package cluster

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestADefinitionIsEstablishedOnceItsConditionSaysSo(t *testing.T) {
	for status, want := range map[string]bool{
		`{"conditions": null}`: false, // as the server creates it
		`{}`:                   false,
		`{"conditions": [{"type": "NamesAccepted", "status": "True"}]}`:                                             false,
		`{"conditions": [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "False"}]}`: false,
		`{"conditions": [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]}`:  true,
	} {
		const served = `{"metadata": {"name": "a"}, "status": {"conditions": [{"type": "Established", "status": "True"}]}}`
		var found crdList
		list := `{"items": [` + served + `, {"metadata": {"name": "b"}, "status": ` + status + `}]}`
		if err := json.Unmarshal([]byte(list), &found); err != nil {
			t.Fatal(err)
		}
		err := found.established()
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "CustomResourceDefinition b ") {
			t.Errorf("%s: error %v", status, err)
		}
	}
}
