// Roots says how TLS fares with the CA roots that a program of ours finds: those built in, or those
// of the system that SSL_CERT_FILE and SSL_CERT_DIR name.
//
//	roots serve CERT      start a server with a root of its own, write that root to the file CERT,
//	                      print the address, and serve until standard input ends
//	roots dial ADDRESS    make a handshake with such a server
//	roots chain FILE      verify a real chain, leaf first, at the time when it was valid
//	roots parsed N        compare the set with its N certificates parsed as package fallback does
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: roots serve CERT | dial ADDRESS | chain FILE")
	}
	var err error
	switch what := os.Args[2]; os.Args[1] {
	case "serve":
		err = serve(what)
	case "dial":
		err = dial(what)
	case "chain":
		err = chain(what)
	case "parsed":
		err = parsed(what)
	default:
		log.Fatalf("unknown command %q", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

func serve(path string) error {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o644); err != nil {
		return err
	}
	fmt.Println(server.Listener.Addr())
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func dial(address string) error {
	// httptest's certificate is for this name.
	conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "example.com"})
	if err != nil {
		return err
	}
	return conn.Close()
}

func chain(path string) error {
	rest, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		certs = append(certs, cert)
	}
	between := x509.NewCertPool()
	for _, cert := range certs[1:] {
		between.AddCert(cert)
	}
	when := certs[0].NotBefore.Add(24 * time.Hour)
	found, err := certs[0].Verify(x509.VerifyOptions{Intermediates: between, CurrentTime: when})
	if err != nil {
		return err
	}
	fmt.Println(found[0][len(found[0])-1].Subject)
	return nil
}

// parsed holds each root that is parsed when it is asked for against the same one parsed at once.
func parsed(wanted string) error {
	unparsed, whole := x509.NewCertPool(), x509.NewCertPool()
	count, constrained := 0, 0
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return err
		}
		count++
		if err := unparsed.AddUnparsedCert(root.Certificate, root.Constraint); err != nil {
			return err
		}
		if root.Constraint == nil {
			whole.AddCert(cert)
		} else {
			constrained++
			whole.AddCertWithConstraint(cert, root.Constraint)
		}
	}
	if fmt.Sprint(count) != wanted || constrained == 0 {
		return fmt.Errorf("%d certificates, %d with a constraint", count, constrained)
	}
	ours, theirs := unparsed.Subjects(), whole.Subjects()
	if !slices.EqualFunc(ours, theirs, bytes.Equal) {
		return fmt.Errorf("%d subjects, %d if parsed, or others", len(ours), len(theirs))
	}
	for _, cut := range []int{0, 1, 40} {
		if err := unparsed.AddUnparsedCert(make([]byte, cut), nil); err == nil {
			return fmt.Errorf("%d bytes of nothing are a certificate", cut)
		}
	}
	return nil
}
