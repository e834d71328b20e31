//go:build (!amd64 && !arm64 && !ppc64le) || purego

package nistec

import "crypto/internal/fips140/nistec/fiat"

type p256TableElement = fiat.P256Element

func p256TableOne() p256TableElement { return *new(fiat.P256Element).One() }

func p256TableMul(out, a, b *p256TableElement) { out.Mul(a, b) }

func p256TableInverse(z *p256TableElement) p256TableElement {
	return *new(fiat.P256Element).Invert(z)
}

// p256TablePoint makes x/z and y/z of a point's projective coordinates.
func p256TablePoint(out *p256AffinePoint, p *P256Point, zInv *p256TableElement) {
	out.x.Mul(&p.x, zInv)
	out.y.Mul(&p.y, zInv)
}
