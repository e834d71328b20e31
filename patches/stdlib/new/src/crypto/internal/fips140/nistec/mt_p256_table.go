package nistec

import (
	"sync"
	"unsafe"
)

// p256PrecomputedEmbed has the place of the table of multiples of the generator
// that stands in p256_table.go upstream: 88,064 bytes which nothing compresses.
// It is zero, and takes no room in a file or in memory, until p256FillTable.
var p256PrecomputedEmbed [43 * 32 * 2 * 4]uint64

var p256TableOnce sync.Once

// p256FillTable computes the table when it is needed for the first time: by
// 1,333 additions, 43 doublings and 43 inversions. Everything in it is public.
//
// Table i holds j·2⁶ⁱ·G for j from 1 to 32, in affine coordinates in the
// Montgomery domain, as p256AffineTable has them.
func p256FillTable() {
	p256TableOnce.Do(func() {
		tables := (*[43]p256AffineTable)(unsafe.Pointer(&p256PrecomputedEmbed))
		base := NewP256Point().SetGenerator()
		var multiples [32]P256Point
		for i := range tables {
			multiples[0].Set(base)
			multiples[1].Double(base)
			for j := 2; j < len(multiples); j++ {
				multiples[j].Add(&multiples[j-1], base)
			}
			p256ToAffine(&tables[i], &multiples)
			base.Double(&multiples[31])
		}
	})
}

// p256ToAffine writes the points in affine coordinates. None of them may be the
// point at infinity. It inverts one product instead of 32 factors: going back
// from the inverse of z₀·…·zₙ, a multiplication each gives the inverse of zₙ
// and that of the product before it.
func p256ToAffine(out *p256AffineTable, points *[32]P256Point) {
	var before [32]p256TableElement // before[j] is z₀·…·zⱼ₋₁
	product := p256TableOne()
	for j := range points {
		before[j] = product
		p256TableMul(&product, &product, &points[j].z)
	}
	inverse := p256TableInverse(&product)
	for j := len(points) - 1; j >= 0; j-- {
		var zInv p256TableElement
		p256TableMul(&zInv, &inverse, &before[j])
		p256TableMul(&inverse, &inverse, &points[j].z)
		p256TablePoint(&out[j], &points[j], &zInv)
	}
}
