/* LZMA without a library: the output itself is the dictionary, so all that is needed besides it is
 * 28 kB of probabilities and 4 kB of CRC table, on the stack.
 *
 * Format: the LZMA specification (LZMA SDK, lzma-specification.txt), the raw stream of LZMA1. */

#include "payload.h"

#define TOP (1u << 24)
#define STATES 12
#define POS_MOST 16
#define LEN_STATES (2 + 2 * POS_MOST * 8 + 256)

/* Where each model has its probabilities. */
enum {
	IS_MATCH = 0,
	IS_REP = IS_MATCH + STATES * POS_MOST,
	IS_REP0 = IS_REP + STATES,
	IS_REP1 = IS_REP0 + STATES,
	IS_REP2 = IS_REP1 + STATES,
	IS_REP0_LONG = IS_REP2 + STATES,
	SLOT = IS_REP0_LONG + STATES * POS_MOST,
	SPECIAL = SLOT + 4 * 64,
	ALIGN = SPECIAL + 128,
	MATCH_LEN = ALIGN + 16,
	REP_LEN = MATCH_LEN + LEN_STATES,
	LITERAL = REP_LEN + LEN_STATES,
};

_Static_assert(LITERAL + (0x300 << 4) == PROBS_MOST, "payload.h tells another number");

struct coder {
	const u8 *in, *end;
	u32 range, code;
	int bad;
};

/* Inlined where a loop has a coder of its own: that one stays in registers. */
#define INLINED __attribute__((always_inline)) static inline

INLINED void normalize(struct coder *c)
{
	if (c->range < TOP) {
		c->range <<= 8;
		if (c->in == c->end) {
			c->bad = 1; /* zeros from here on; the caller looks at `bad` */
			c->code <<= 8;
		} else {
			c->code = (c->code << 8) | *c->in++;
		}
	}
}

INLINED u32 bit_of(struct coder *c, u16 *p)
{
	normalize(c);
	u32 bound = (c->range >> 11) * *p;
	if (c->code < bound) {
		c->range = bound;
		*p += (2048 - *p) >> 5;
		return 0;
	}
	c->range -= bound;
	c->code -= bound;
	*p -= *p >> 5;
	return 1;
}

__attribute__((noinline)) static u32 bit(struct coder *c, u16 *p)
{
	return bit_of(c, p);
}

static u32 tree(struct coder *c, u16 *p, int bits)
{
	struct coder own = *c;
	u32 m = 1;
	for (int i = 0; i < bits; i++)
		m = (m << 1) | bit_of(&own, p + m);
	*c = own;
	return m - (1u << bits);
}

/* `side` is 0x100 for a byte that is compared with `match`, or 0. */
static u32 literal(struct coder *c, u16 *p, u32 match, u32 side)
{
	struct coder own = *c;
	u32 symbol = 1;
	while (symbol < 0x100) {
		match <<= 1;
		u32 wanted = match & side;
		u32 b = bit_of(&own, p + side + wanted + symbol);
		symbol = (symbol << 1) | b;
		side &= b ? match : ~match;
	}
	*c = own;
	return symbol;
}

static u32 reverse(struct coder *c, u16 *p, int bits)
{
	u32 m = 1, value = 0;
	for (int i = 0; i < bits; i++) {
		u32 b = bit(c, p + m);
		m = (m << 1) | b;
		value |= b << i;
	}
	return value;
}

static u32 direct(struct coder *c, int bits)
{
	u32 value = 0;
	while (bits--) {
		normalize(c);
		c->range >>= 1;
		u32 one = c->code >= c->range;
		if (one)
			c->code -= c->range;
		value = (value << 1) | one;
	}
	return value;
}

static u32 length(struct coder *c, u16 *p, u32 pos)
{
	if (!bit(c, p))
		return 2 + tree(c, p + 2 + pos * 8, 3);
	if (!bit(c, p + 1))
		return 10 + tree(c, p + 2 + POS_MOST * 8 + pos * 8, 3);
	return 18 + tree(c, p + 2 + 2 * POS_MOST * 8, 8);
}

int lzma_decode(const u8 *in, u32 packed, u8 *out, u32 size, u32 wanted, int lc, int lp, int pb,
		u16 *probs)
{
	if (packed < 5 || in[0] != 0 || lc + lp > 4 || pb > 4)
		return -1;
	u32 count = LITERAL + (0x300u << (lc + lp));
	if (count > PROBS_MOST)
		return -1;
	for (u32 i = 0; i < count; i++)
		probs[i] = 1024;
	struct coder c = {in + 5, in + packed, 0xFFFFFFFF, 0, 0};
	for (int i = 1; i < 5; i++)
		c.code = (c.code << 8) | in[i];
	u32 at = 0, state = 0, rep[4] = {0, 0, 0, 0};
	while (at < wanted) {
		u32 pos = at & ((1u << pb) - 1);
		if (!bit(&c, probs + IS_MATCH + state * POS_MOST + pos)) {
			u32 before = at ? out[at - 1] : 0;
			u32 model = ((at & ((1u << lp) - 1)) << lc) | (before >> (8 - lc));
			u16 *p = probs + LITERAL + 0x300 * model;
			int after_match = state >= 7;
			u32 match = after_match ? out[at - rep[0] - 1] : 0;
			out[at++] = (u8)literal(&c, p, match, after_match ? 0x100 : 0);
			state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
		} else {
			u32 len;
			if (bit(&c, probs + IS_REP + state)) {
				if (at == 0)
					return -1;
				if (!bit(&c, probs + IS_REP0 + state)) {
					if (!bit(&c, probs + IS_REP0_LONG + state * POS_MOST + pos)) {
						if (rep[0] >= at)
							return -1;
						out[at] = out[at - rep[0] - 1];
						at++;
						state = state < 7 ? 9 : 11;
						if (c.bad)
							return -1;
						continue;
					}
				} else {
					u32 distance;
					if (!bit(&c, probs + IS_REP1 + state)) {
						distance = rep[1];
					} else {
						if (!bit(&c, probs + IS_REP2 + state)) {
							distance = rep[2];
						} else {
							distance = rep[3];
							rep[3] = rep[2];
						}
						rep[2] = rep[1];
					}
					rep[1] = rep[0];
					rep[0] = distance;
				}
				len = length(&c, probs + REP_LEN, pos);
				state = state < 7 ? 8 : 11;
			} else {
				rep[3] = rep[2];
				rep[2] = rep[1];
				rep[1] = rep[0];
				len = length(&c, probs + MATCH_LEN, pos);
				state = state < 7 ? 7 : 10;
				u32 slot = tree(&c, probs + SLOT + 64 * (len < 6 ? len - 2 : 3), 6);
				u32 distance = slot;
				if (slot >= 4) {
					int bits = (int)(slot >> 1) - 1;
					distance = (2 | (slot & 1)) << bits;
					if (slot < 14) {
						distance += reverse(&c, probs + SPECIAL + distance - slot, bits);
					} else {
						distance += direct(&c, bits - 4) << 4;
						distance += reverse(&c, probs + ALIGN, 4);
					}
				}
				rep[0] = distance;
			}
			if (rep[0] >= at || len > size - at)
				return -1;
			for (; len; len--, at++)
				out[at] = out[at - rep[0] - 1];
		}
		if (c.bad)
			return -1;
	}
	return 0;
}

void unfilter(int kind, u8 *code, u32 size, u32 start)
{
	if (kind == FILTER_X86) {
		/* Targets in the code are absolute; all other numbers are as they were. */
		for (u32 i = 0; i + 5 < size; i++) {
			if (code[i] != 0xE8) /* CALL */
				continue;
			int value = (int)little(code + i + 1);
			if (value >= -(int)i && value < (int)size)
				put_little(code + i + 1, (u32)(value >= 0 ? value - (int)i : value + (int)size));
			i += 4;
		}
		return;
	}
	for (u32 i = 0; i + 4 <= size; i += 4) {
		/* Words are big endian in the stream: the bytes that say what it is come first. */
		u8 *p = code + i;
		u32 w = (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
		if (kind == FILTER_ARM64) {
			if ((w & 0xFC000000) == 0x94000000) { /* BL */
				w = 0x94000000 | ((w - i / 4) & 0x3FFFFFF);
			} else if ((w & 0x9F000000) == 0x90000000) { /* ADRP */
				u32 page = ((w >> 29) & 3) | ((w >> 3) & 0x1FFFFC);
				page -= (start + i) >> 12;
				w = (w & 0x9F00001F) | (page & 3) << 29 | (page & 0x1FFFFC) << 3;
			}
		} else if ((w & 0xFF000000) == 0xEB000000) { /* BL */
			w = 0xEB000000 | ((w - i / 4) & 0xFFFFFF);
		}
		put_little(p, w);
	}
}

/* Entry 256 * k + n is the CRC of the byte n and k zeros after it. */
void crc_table(u32 *table)
{
	for (u32 n = 0; n < 256; n++) {
		u32 c = n;
		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xEDB88320 ^ (c >> 1) : c >> 1;
		table[n] = c;
	}
	for (u32 n = 0; n < 768; n++)
		table[n + 256] = table[table[n] & 255] ^ (table[n] >> 8);
}

static u32 crc_of(const u8 *from, const u8 *end, const u32 *table)
{
	u32 crc = ~0u;
	for (; end - from >= 4; from += 4) {
		crc ^= little(from);
		crc = table[768 + (crc & 255)] ^ table[512 + (crc >> 8 & 255)] ^
		      table[256 + (crc >> 16 & 255)] ^ table[crc >> 24];
	}
	for (; from < end; from++)
		crc = table[(crc ^ *from) & 255] ^ (crc >> 8);
	return ~crc;
}

const char *check_head(const u8 *file, const struct payload *p, const u32 *table)
{
	return crc_of(file, (const u8 *)&p->head_crc, table) == p->head_crc ? 0 : "its head is damaged";
}

const char *check_stream(const struct payload *p, const u32 *table)
{
	return crc_of((const u8 *)(p + 1), end_of(p), table) == p->stream_crc ? 0 : "it is damaged";
}

static const char bad_header[] = "its header is damaged";
static const char bad_stream[] = "it cannot be unpacked";

/* Whether what the header says of places is within the program and in order. */
static int in_order(const struct payload *p)
{
	const struct own *a = p->own, *b = p->own + 1;
	if (p->text > p->size || p->text_size > p->size - p->text || p->filter > FILTER_X86)
		return 0;
	if (a->at > p->size || a->size > p->size - a->at || b->at > p->size || b->size > p->size - b->at)
		return 0;
	if (p->tables > p->size || p->tables_size > p->size - p->tables)
		return 0;
	if (!own_size(p))
		return !a->at && !b->at;
	if (p->tables_size && p->tables + p->tables_size > a->at)
		return 0;
	return p->text + p->text_size <= a->at && a->at + a->size <= b->at;
}

const char *unpack(const struct payload *p, u8 *out, u16 *probs, void *room)
{
	if (!in_order(p))
		return bad_header;
	if (lzma_decode((const u8 *)(p + 1), p->packed, out, p->size, p->size, p->lc, p->lp, p->pb, probs))
		return bad_stream;
	if (p->filter)
		unfilter(p->filter, out + own_size(p) + p->text, p->text_size, p->text);
#ifdef TABLES
	u32 most = (own_size(p) ? p->own[0].at : p->size) - p->tables;
	if (p->tables_size && put_tables(out + own_size(p) + p->tables, p->tables_size, most, room))
		return bad_stream;
#else
	(void)room;
	if (p->tables_size)
		return bad_header;
#endif
	return 0;
}

const char *unpack_own(const struct payload *p, u8 *out, u16 *probs, const u32 *table)
{
	if (!in_order(p))
		return bad_header;
	u32 size = own_size(p);
	if (lzma_decode((const u8 *)(p + 1), p->packed, out, size + OWN_SLACK, size, p->lc, p->lp, p->pb,
			probs))
		return bad_stream;
	return crc_of(out, out + size, table) == p->own_crc ? 0 : bad_stream;
}
