/* What follows the stub in a packed program. build/native/packer.py writes it. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

enum { FILTER_NONE = 0, FILTER_ARM64 = 1, FILTER_ARM = 2, FILTER_X86 = 3 };

/* Pages of the program that each process has for itself: offset and bytes, in whole pages. */
struct own {
	u32 at, size;
};

/* Numbers are little endian, as all our platforms are.
 *
 * Unpacked, the own pages stand first, and the rest of the program after them: who shares the rest
 * unpacks no more than them. */
struct payload {
	u8 magic[8];         /* MAGIC */
	char name[16];       /* of the unpacked program: "mt-" and 12 hex digits, then a zero */
	u32 size;            /* bytes of the unpacked program */
	u32 packed;          /* bytes of the LZMA stream that follows this; a zero follows that */
	u32 text, text_size; /* the code in the program, which the filter was for */
	struct own own[2];   /* in the program's order; sizes 0 for none */
	u32 own_crc;         /* CRC-32 of the own pages */
	u32 tables, tables_size; /* Go's tables of functions, which are columns here; size 0 for none */
	u8 lc, lp, pb, filter;
	u32 stream_crc;      /* CRC-32 (ISO 3309) of the stream and the zero */
	u32 head_crc;        /* the same of the file up to here */
};

#define MAGIC "mtpack2"

#define PROBS_MOST 14148 /* numbers for lc + lp = 4; more are refused */

/* Fills out[0..wanted) from in[0..packed); returns 0, or -1 for what is no such stream. Reads and
 * writes nothing outside of out[0..size), whatever the input; `probs` has PROBS_MOST numbers. */
int lzma_decode(const u8 *in, u32 packed, u8 *out, u32 size, u32 wanted, int lc, int lp, int pb,
		u16 *probs);

/* Undoes the filter that brought branch targets into an absolute form. */
void unfilter(int kind, u8 *code, u32 size, u32 start);

/* Makes tables of the columns in out[0..size), and findfunctab behind them, in out[0..most); returns 0
 * or -1. Reads and writes nothing outside, whatever the columns are; `room` has `size` bytes. */
int put_tables(u8 *out, u32 size, u32 most, void *room);

/* Look for damage before anything else believes it: in the stub and the header of a packed program,
 * whose first byte is `file`, and in its stream. Return 0 or what is wrong. `table` has 1024
 * numbers, those that `crc_table` puts there. */
void crc_table(u32 *table);
const char *check_head(const u8 *file, const struct payload *p, const u32 *table);
const char *check_stream(const struct payload *p, const u32 *table);

/* Unpacks a program that was found right into out[0..p->size); returns 0 or what is wrong. `room` has
 * p->tables_size bytes and stands at a multiple of 4. */
const char *unpack(const struct payload *p, u8 *out, u16 *probs, void *room);

/* Unpacks only its own pages, to the front of `out`, which has OWN_SLACK bytes more. */
const char *unpack_own(const struct payload *p, u8 *out, u16 *probs, const u32 *table);
enum { OWN_SLACK = 4096 };

/* Bytes of the own pages. */
static inline u32 own_size(const struct payload *p) { return p->own[0].size + p->own[1].size; }

/* How much further behind than in the program a byte stands that is no own one. */
static inline u32 shift(const struct payload *p, u32 at)
{
	return at < p->own[0].at ? own_size(p) : at < p->own[1].at ? p->own[1].size : 0;
}

static inline u32 little(const u8 *p)
{
	return p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24;
}

static inline void put_little(u8 *p, u32 value)
{
	p[0] = (u8)value;
	p[1] = (u8)(value >> 8);
	p[2] = (u8)(value >> 16);
	p[3] = (u8)(value >> 24);
}

/* Where the file ends if the header is right. */
static inline const u8 *end_of(const struct payload *p)
{
	return (const u8 *)(p + 1) + p->packed + 1;
}
