// Package kube is the little of the Kubernetes API that starting a cluster needs,
// in plain JSON over HTTP: read an object, apply one, ask whether the server is ready.
package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Client speaks to one API server.
type Client struct {
	server, token string
	http          *http.Client
}

// StatusError is an answer other than success.
type StatusError struct {
	Code    int
	Message string
}

func (e *StatusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.Code, e.Message) }

// New makes a client; authority is the PEM certificate that the server's is signed by.
func New(server, token string, authority []byte) (*Client, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("the certificate of the authority of %s cannot be read", server)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}} // and no proxy
	return &Client{server, token, &http.Client{Transport: transport, Timeout: 10 * time.Second}}, nil
}

// Ready asks the server whether it and its store are ready to serve.
func (c *Client) Ready(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, "/readyz", nil, nil)
}

// Get reads the object at the path into out.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, nil, out)
}

// Apply makes the object of that path as given, whether it exists or not. It is done by
// a patch because the server delays the first creations of a new kind by two seconds.
func (c *Client) Apply(ctx context.Context, path string, object any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPatch, path+"?fieldManager=cluster&force=true", body, nil)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/apply-patch+yaml") // of which JSON is a part
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		status := struct{ Message string }{}
		if json.Unmarshal(data, &status) != nil || status.Message == "" {
			status.Message = string(data)
		}
		return fmt.Errorf("%s %s: %w", method, path, &StatusError{resp.StatusCode, status.Message})
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// Await asks again and again, at a short interval, until check finds nothing wrong.
// alive is asked in between: there is no use in waiting for a program that has ended.
func Await(ctx context.Context, limit time.Duration, alive func() error, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		var status *StatusError
		if errors.As(err, &status) && (status.Code == http.StatusBadRequest || status.Code == http.StatusUnprocessableEntity) {
			return err // asking again would be the same mistake
		}
		if dead := alive(); dead != nil {
			return dead
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", limit, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
