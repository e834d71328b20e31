/* unpack PACKED OFFSET PROGRAM: what the stub does to its payload, on the machine that packs.
 *
 * OFFSET is where the payload begins in the packed program, in bytes. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "payload.h"

enum { MOST = 1 << 26 };

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
	if (!wrong && !out)
		wrong = "its header is damaged";
	if (!wrong)
		wrong = unpack(p, out, probs);
	if (wrong)
		return refuse(wrong);
	FILE *to = fopen(argv[3], "wb");
	if (!to || fwrite(out, 1, p->size, to) != p->size || fclose(to))
		return refuse("it cannot be written");
	return 0;
}
