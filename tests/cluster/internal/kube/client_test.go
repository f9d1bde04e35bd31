package kube

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewTLSServer(handle)
	t.Cleanup(server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	client, err := New(server.URL, "secret", authority)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func fine() error { return nil }

func TestApplyIsAPatchWithTheToken(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "PATCH" || r.URL.Path != "/api/v1/namespaces/x" || string(body) != `{"kind":"Namespace"}` ||
			r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("Content-Type") != "application/apply-patch+yaml" {
			t.Errorf("%s %s %v %s", r.Method, r.URL, r.Header, body)
		}
	})
	if err := client.Apply(context.Background(), "/api/v1/namespaces/x", map[string]string{"kind": "Namespace"}); err != nil {
		t.Error(err)
	}
}

func TestAnAnswerIsDecodedAndARefusalSaysWhy(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/there" {
			_, _ = io.WriteString(w, `{"name":"x"}`)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"message":"not for you"}`)
	})
	var out struct{ Name string }
	if err := client.Get(context.Background(), "/there", &out); err != nil || out.Name != "x" {
		t.Errorf("%+v, error %v", out, err)
	}
	err := client.Get(context.Background(), "/elsewhere", &out)
	var status *StatusError
	if !errors.As(err, &status) || status.Code != http.StatusForbidden || !strings.Contains(err.Error(), "not for you") {
		t.Errorf("error %v", err)
	}
}

func TestWaitingEndsWithSuccessMistakeDeathOrTime(t *testing.T) {
	calls := 0
	later := func(context.Context) error {
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	}
	if err := Await(context.Background(), time.Minute, fine, later); err != nil || calls != 3 {
		t.Errorf("%d calls, error %v", calls, err)
	}
	for what, c := range map[string]struct {
		limit time.Duration
		alive func() error
		check error
		want  string
	}{
		"a mistake": {time.Minute, fine, &StatusError{http.StatusUnprocessableEntity, "wrong field"}, "wrong field"},
		"a death":   {time.Minute, func() error { return errors.New("etcd ended") }, errors.New("refused"), "etcd ended"},
		"time":      {time.Millisecond, fine, errors.New("refused"), "refused"},
	} {
		err := Await(context.Background(), c.limit, c.alive, func(context.Context) error { return c.check })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v", what, err)
		}
	}
}
