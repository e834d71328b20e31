/* Puts Go's tables of functions back, which build/native/pclntab.py made columns of. */

#include "payload.h"

enum { FIXED = 11, PCDATA = 6, FUNCDATA = 10, TREE = 2 };
enum { ENTRY = 0, PCSP = 4, PCLN = 6, NPCDATA = 7, COUNTS = 10 };
enum { COLUMNS = FIXED + PCDATA + FUNCDATA, KINDS = 3 + PCDATA };
#define NEW 0xFFFFFFFFu
#define WHOLE 0xFFFFFFFEu

/* What the columns begin with; `place` is where each begins, in bytes from here, then those of the
 * tables' values, then those of their lengths. */
struct tables {
	u32 used; /* bytes of all this */
	u32 functions;
	u32 pctab;   /* bytes of it: functab follows */
	u32 pointer; /* bytes, to which a function's words are padded */
	u32 unit;    /* bytes of code that lengths count in */
	u32 round;   /* bytes of code to which functions are padded */
	u32 end;     /* of the code */
	u32 buckets; /* where findfunctab is, in bytes from pctab on, or 0 */
	u32 place[COLUMNS + 2 * KINDS];
};

/* Reads from `t`, writes to `out`[0..size), no more of either whatever is in there. */
struct writer {
	struct tables *t;
	u8 *out;
	u32 size;
	u32 high; /* where pctab ends so far */
	int bad;
};

static u32 word(struct writer *w, u32 column)
{
	u32 at = w->t->place[column];
	if (at > w->t->used - 4) {
		w->bad = 1;
		return 0;
	}
	w->t->place[column] = at + 4;
	return little((const u8 *)w->t + at);
}

static void put(struct writer *w, u32 at, u32 value)
{
	if (at > w->size - 4)
		w->bad = 1;
	else
		put_little(w->out + at, value);
}

static u32 next(const struct writer *w, u32 stream)
{
	u32 at = w->t->place[COLUMNS + stream];
	return at < w->t->used ? ((const u8 *)w->t)[at] : 0;
}

static void append(struct writer *w, u32 byte)
{
	if (w->high < w->t->pctab)
		w->out[w->high++] = (u8)byte;
	else
		w->bad = 1;
}

/* Appends a number of a stream to pctab and returns it (LEB128). */
static u32 number(struct writer *w, u32 stream)
{
	u32 value = 0;
	for (u32 shift = 0;; shift = (shift + 7) & 31) {
		u32 byte = next(w, stream);
		w->t->place[COLUMNS + stream]++;
		append(w, byte);
		value |= (byte & 127) << shift;
		if (byte < 128)
			return value;
	}
}

/* Appends the next table of a kind; its last length is what is left of `size`, or in the stream
 * too. Returns how much code it is for. */
static u32 appended(struct writer *w, u32 kind, int whole, u32 size)
{
	u32 sum = 0;
	for (int first = 1;; first = 0) {
		if (!number(w, kind) && !first)
			return sum;
		if (w->bad)
			return 0;
		if (whole || next(w, kind)) {
			sum += number(w, KINDS + kind);
			continue;
		}
		u32 left = size - sum;
		sum = size;
		for (; left > 127; left >>= 7)
			append(w, left | 128);
		append(w, left);
	}
}

/* Returns for how much code the table at `at` is. */
static u32 length_of(const struct writer *w, u32 at)
{
	u32 sum = 0;
	for (u32 n = 0; at < w->high; n++) {
		u32 value = 0, byte = 128;
		for (u32 shift = 0; byte > 127 && at < w->high; shift = (shift + 7) & 31) {
			byte = w->out[at++];
			value |= (byte & 127) << shift;
		}
		if (n & 1)
			sum += value;
		else if (n && !value)
			break;
	}
	return sum;
}

/* Puts a function's pointer into pctab at `at`; `size` is how much code the function has, if that is
 * known. */
static void pointer(struct writer *w, u32 at, u32 column, u32 *size)
{
	u32 value = word(w, column), kind = column < FIXED ? column - PCSP : column - FIXED + 3;
	u32 begin = w->high;
	if (value >= WHOLE) {
		u32 sum = appended(w, kind, value == WHOLE, *size);
		if (column == PCSP)
			*size = sum;
		value = begin;
	} else if (column == PCSP) {
		*size = value ? length_of(w, value) : 0;
	}
	put(w, at, value);
}

/* Writes findfunctab: for each 4096 bytes of code the first function, and for each 256 of them how
 * many more begin in front. */
static void buckets(struct writer *w, const u8 *functab)
{
	const struct tables *t = w->t;
	u32 at = t->buckets, i = 0, first = 0;
	for (u32 code = 0; code < t->end; code += 256) {
		while (i + 1 < t->functions && little(functab + 8 * (i + 1)) <= code)
			i++;
		if (code % 4096 == 0) {
			put(w, at, first = i);
			at += 4;
		}
		if (at >= w->size) {
			w->bad = 1;
			return;
		}
		w->out[at++] = (u8)(i - first);
	}
}

int put_tables(u8 *out, u32 size, u32 most, void *room)
{
	struct tables *t = room;
	u32 used = little(out);
	if (used < sizeof *t || used > size)
		return -1;
	for (u32 i = 0; i < used; i++)
		((u8 *)room)[i] = out[i];
	for (u32 i = 0; i < size; i++)
		out[i] = 0;
	/* All places below are sums of these. */
	if (t->pctab > size || t->functions > (size - t->pctab) / 8 || t->end > 1u << 30 ||
	    t->pointer > 8 || t->round > 4096)
		return -1;
	struct writer w = {t, out, size, 1, 0};
	u32 at = 8 * t->functions + 4, entry = 0;
	for (u32 i = 0; i < t->functions && !w.bad; i++) {
		at = (at + t->pointer - 1) & -t->pointer;
		entry += word(&w, ENTRY);
		u32 f = t->pctab + at, code = 0, counts = 0, pcdata = 0;
		put(&w, t->pctab + 8 * i, entry);
		put(&w, t->pctab + 8 * i + 4, at);
		put(&w, f, entry);
		for (u32 k = 1; k < FIXED; k++) {
			if (k >= PCSP && k <= PCLN) {
				pointer(&w, f + 4 * k, k, &code);
				continue;
			}
			counts = word(&w, k);
			put(&w, f + 4 * k, counts);
			if (k == NPCDATA)
				pcdata = counts;
		}
		counts >>= 24;
		if (pcdata > PCDATA || counts > FUNCDATA)
			return -1;
		f += 4 * FIXED;
		/* The linker puts the tree of inlined calls last. */
		for (u32 j = 0; j < pcdata; j++) {
			u32 k = j < TREE ? j : j + 1 < pcdata ? j + 1 : TREE;
			pointer(&w, f + 4 * k, FIXED + k, &code);
		}
		f += 4 * pcdata;
		for (u32 k = 0; k < counts; k++)
			put(&w, f + 4 * k, word(&w, FIXED + PCDATA + k));
		at += 4 * (FIXED + pcdata + counts);
		entry += (code * t->unit + t->round - 1) & -t->round;
	}
	put(&w, t->pctab + 8 * t->functions, t->end);
	w.size = most;
	if (t->buckets)
		buckets(&w, out + t->pctab);
	return w.bad ? -1 : 0;
}
