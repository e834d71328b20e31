/* unpack PACKED OFFSET PROGRAM: what the stub does to its payload, on the machine that packs.
 *
 * OFFSET is where the payload begins in the packed program, in bytes. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "payload.h"

enum { MOST = 1 << 26 };

/* Writes the program in its own order. */
static int written(const struct payload *p, const u8 *out, FILE *to)
{
	const struct own *a = p->own, *b = p->own + 1;
	u32 own = own_size(p), after_a = a->at + a->size, after_b = b->at + b->size;
	const struct { const u8 *from; size_t size; } parts[] = {
		{out + own, a->at},
		{out, a->size},
		{out + own + a->at, b->at - after_a},
		{out + a->size, b->size},
		{out + after_b, p->size - after_b},
	};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (fwrite(parts[i].from, 1, parts[i].size, to) != parts[i].size)
			return 0;
	return 1;
}

/* What who shares the rest does, which has to come to the same. */
static const char *same_alone(const struct payload *p, const u8 *out, u16 *probs, const u32 *table)
{
	u32 size = own_size(p);
	u8 *alone = malloc(size + OWN_SLACK);
	const char *wrong = alone ? unpack_own(p, alone, probs, table) : "there is not enough memory";
	if (!wrong && memcmp(alone, out, size))
		wrong = "its own pages are others alone";
	free(alone);
	return wrong;
}

static int refuse(const char *why)
{
	fprintf(stderr, "%s\n", why);
	return 1;
}

int main(int argc, char **argv)
{
	static u16 probs[PROBS_MOST];
	static u32 table[1024];
	u8 *packed = malloc(MOST);
	FILE *from = argc == 4 ? fopen(argv[1], "rb") : 0;
	size_t size = packed && from ? fread(packed, 1, MOST, from) : 0;
	size_t offset = argc == 4 ? strtoul(argv[2], 0, 10) : 0;
	if (!size || size == MOST || offset % 4 || offset + sizeof(struct payload) > size)
		return refuse("no packed program");
	const struct payload *p = (const struct payload *)(packed + offset);
	if (memcmp(p->magic, MAGIC, sizeof MAGIC) || p->packed != size - offset - sizeof *p - 1)
		return refuse("its length is wrong");
	crc_table(table);
	const char *wrong = check_head(packed, p, table);
	if (!wrong)
		wrong = check_stream(p, table);
	u8 *out = p->size <= MOST ? malloc(p->size + 1u) : 0;
	void *room = p->tables_size <= MOST ? malloc(p->tables_size + 1u) : 0;
	if (!wrong && (!out || !room))
		wrong = "its header is damaged";
	if (!wrong)
		wrong = unpack(p, out, probs, room);
	if (!wrong && own_size(p))
		wrong = same_alone(p, out, probs, table);
	if (wrong)
		return refuse(wrong);
	FILE *to = fopen(argv[3], "wb");
	if (!to || !written(p, out, to) || fclose(to))
		return refuse("it cannot be written");
	return 0;
}
