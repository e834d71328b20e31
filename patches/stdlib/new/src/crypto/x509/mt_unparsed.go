// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package x509

import (
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// AddUnparsedCert adds a DER certificate that is parsed when a chain may end in it, each time anew.
// The whole Mozilla set, parsed, takes 0.8 MB and most of what a start of the program costs; a
// handshake needs one or two of them.
//
// constraint is what [CertPool.AddCertWithConstraint] takes, or nil. Whether the pool holds a
// certificate is not known of those added so. An error says that der has another form as far as its
// subject; what is wrong behind that makes it a root that no chain ends in.
func (s *CertPool) AddUnparsedCert(der []byte, constraint func([]*Certificate) error) error {
	input := cryptobyte.String(der)
	var certificate, tbs, subject cryptobyte.String
	version := cryptobyte_asn1.Tag(0).Constructed().ContextSpecific()
	// RFC 5280, 4.1: version, serial number, algorithm, issuer, validity, subject.
	if !input.ReadASN1(&certificate, cryptobyte_asn1.SEQUENCE) ||
		!certificate.ReadASN1(&tbs, cryptobyte_asn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(version) ||
		!tbs.SkipASN1(cryptobyte_asn1.INTEGER) ||
		!tbs.SkipASN1(cryptobyte_asn1.SEQUENCE) ||
		!tbs.SkipASN1(cryptobyte_asn1.SEQUENCE) ||
		!tbs.SkipASN1(cryptobyte_asn1.SEQUENCE) ||
		!tbs.ReadASN1Element(&subject, cryptobyte_asn1.SEQUENCE) {
		return errors.New("x509: not a certificate")
	}
	// The pool knows what it has by a digest. A number does for that: hashing all would cost more
	// than the rest of this.
	var sum sum224
	binary.BigEndian.PutUint64(sum[:], uint64(len(s.lazyCerts))+1)
	s.addCertFunc(sum, string(subject), func() (*Certificate, error) {
		return ParseCertificate(der)
	}, constraint)
	return nil
}
