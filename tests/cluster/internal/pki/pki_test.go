package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestACertificateIsOfItsAuthorityAndForItsNamesAndUse(t *testing.T) {
	dir := t.TempDir()
	authority, err := New(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	address := net.IPv4(198, 18, 0, 10)
	if err := authority.Issue("server", Certificate{CommonName: "a", DNS: []string{"kubernetes"}, IP: []net.IP{address}, Usage: x509.ExtKeyUsageServerAuth}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatal("the authority's certificate cannot be read")
	}
	for _, name := range []string{"kubernetes", address.String()} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Error(err)
		}
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("a server's certificate is taken for a client's")
	}
	info, err := os.Stat(filepath.Join(dir, "server.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v", info.Mode())
	}
}
