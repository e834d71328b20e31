/*
 * Counts the instructions that a program executes under qemu-user.
 *
 *	cc -shared -fPIC -O2 -o count.so count.c
 *	qemu-arm -cpu arm926 -plugin ./count.so,out=FILE program
 *
 * FILE gets the sum in its first line, then a line "address count length" for each block
 * of code that was run, the first in hexadecimal: how many instructions were run in it,
 * and how many it has. Which function that is, the program's own table tells. So a
 * benchmark can be asked which code it measured.
 *
 * Time under emulation says little about time on a router: one instruction of
 * the guest becomes any number of the host's. The number of instructions says
 * more, and is the same on every run and on every host, so it can be compared
 * and recorded.
 *
 * It takes the qemu that is linked dynamically (Debian: qemu-user); the static
 * one has no plugins. No header of QEMU is needed: what is used of the
 * interface, version 1, is declared here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_info;
enum cb_flags { CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
	void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *,
	void (*)(unsigned int, void *), enum cb_flags, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t,
	void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = 1;

/* A block that was translated. It is never freed: QEMU may still run it. */
struct block {
	struct block *next;
	uint64_t address, instructions, times;
};
static struct block *blocks;
static char out[4096];

static void executed(unsigned int thread, void *block)
{
	/* Atomic: the guest's threads run the same code. */
	__atomic_fetch_add(&((struct block *)block)->times, 1, __ATOMIC_RELAXED);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *b = calloc(1, sizeof *b);

	if (!b)
		abort();
	b->address = qemu_plugin_tb_vaddr(tb);
	b->instructions = qemu_plugin_tb_n_insns(tb);
	b->next = __atomic_load_n(&blocks, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&blocks, &b->next, b, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, CB_NO_REGS, b);
}

static void at_exit(qemu_plugin_id_t id, void *unused)
{
	uint64_t sum = 0;
	FILE *f = out[0] ? fopen(out, "w") : stderr;

	if (!f) {
		perror(out);
		return;
	}
	for (struct block *b = blocks; b; b = b->next)
		sum += b->times * b->instructions;
	fprintf(f, "%" PRIu64 "\n", sum);
	for (struct block *b = blocks; b; b = b->next)
		if (b->times)
			fprintf(f, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", b->address,
				b->times * b->instructions, b->instructions);
	if (f != stderr)
		fclose(f);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info,
	int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "out=", 4) || strlen(argv[i]) >= sizeof out)
			return -1;
		strcpy(out, argv[i] + 4);
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, at_exit, NULL);
	return 0;
}
