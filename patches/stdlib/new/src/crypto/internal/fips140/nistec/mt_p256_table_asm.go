//go:build (amd64 || arm64 || ppc64le) && !purego

package nistec

type p256TableElement = p256Element

func p256TableOne() p256TableElement { return p256One }

func p256TableMul(out, a, b *p256TableElement) { p256Mul(out, a, b) }

func p256TableInverse(z *p256TableElement) p256TableElement {
	var out p256TableElement
	p256Inverse(&out, z)
	return out
}

// p256TablePoint makes x/z² and y/z³ of a point's Jacobian coordinates.
func p256TablePoint(out *p256AffinePoint, p *P256Point, zInv *p256TableElement) {
	var square p256TableElement
	p256Sqr(&square, zInv, 1)
	p256Mul(&out.x, &p.x, &square)
	p256Mul(&square, &square, zInv)
	p256Mul(&out.y, &p.y, &square)
	p256FromTable(&out.x)
	p256FromTable(&out.y)
}

// p256FromTable brings a value into [0, p): the assembly may leave one above,
// which is right wherever it is used, but is not what upstream's table has.
func p256FromTable(value *p256Element) {
	var plain p256Element
	p256FromMont(&plain, value)
	p256Mul(value, &plain, &p256TableRR)
}

// p256TableRR is R², which brings a value into the Montgomery domain.
var p256TableRR = p256Element{0x0000000000000003, 0xfffffffbffffffff, 0xfffffffffffffffe, 0x00000004fffffffd}
