/* The head of a packed program: unpacks what follows it into memory and goes on as that.
 *
 * No library, no writable data. Nothing is executed a second time: the program's segments are mapped
 * as the kernel would, so that /proc/PID/exe, comm and cmdline are what they would be unpacked. The
 * memory is a sealed file without a name (memfd_create, Linux 3.17), of which the first process of
 * a container keeps a descriptor: the same program started beside it maps that, instead of
 * unpacking again. What a program writes to at once is not in there, since it would be there twice:
 * its own pages, which stand first in the stream, and are all that is unpacked again. Where there is
 * no such file the memory is the process' own. */

#include "payload.h"

extern const u8 file[], after_stub[]; /* stub.ld: where the packed file and its payload begin */

long sys(long number, long a, long b, long c, long d, long e, long f);
__attribute__((noreturn)) void leave(unsigned long entry, long *stack);

#if defined(__x86_64__)
enum { WRITE = 1, CLOSE = 3, MMAP = 9, MPROTECT = 10, MUNMAP = 11, MADVISE = 28, GETPID = 39, FCNTL = 72,
       FTRUNCATE = 77, ADVISE_FILE = 221, EXIT = 231, OPENAT = 257, READLINKAT = 267, ACCESS = 269,
       MEMFD = 319 };
#elif defined(__aarch64__)
enum { FCNTL = 25, FTRUNCATE = 46, ACCESS = 48, OPENAT = 56, CLOSE = 57, WRITE = 64, READLINKAT = 78,
       EXIT = 94, GETPID = 172, MUNMAP = 215, MMAP = 222, ADVISE_FILE = 223, MPROTECT = 226,
       MADVISE = 233, MEMFD = 279 };
#else /* ARM EABI; MMAP is mmap2 */
enum { WRITE = 4, CLOSE = 6, GETPID = 20, MUNMAP = 91, FTRUNCATE = 93, MPROTECT = 125,
       MMAP = 192, MADVISE = 220, FCNTL = 221, EXIT = 248, ADVISE_FILE = 270, OPENAT = 322,
       READLINKAT = 332, ACCESS = 334, MEMFD = 385, CACHEFLUSH = 0xF0002 };
#endif

enum { HERE = -100, BAD_ADDRESS = -14, CLOEXEC = 02000000 };
enum { MFD_CLOEXEC = 1, ALLOW_SEALING = 2, NOEXEC_SEAL = 8 };
enum { ADD_SEALS = 1033, GET_SEALS = 1034, DUP_CLOEXEC = 1030, SEALED = 15 };
enum { READABLE = 1, WRITABLE = 2, RUNNABLE = 4, SHARED = 1, OWN = 2, FIXED = 16, NO_FILE = 32 };
enum { NOT_NEEDED = 4, REMOVE = 9, FILE_NOT_NEEDED = 4 };

enum { PAGE = 4096 };         /* of the format; a kernel's may be larger */
enum { STACK_USED = 64 << 10 }; /* more than unpacking takes */

/* The descriptor that the first process keeps: beyond those that programs are handed or expect. */
enum { KEPT = 100, TRIED = 4 };

/* "System V ABI", gABI chapters 4 and 5, for this machine's class. */
#if __SIZEOF_POINTER__ == 8
struct segment { u32 type, flags; unsigned long offset, at, physical, in_file, in_memory, align; };
enum { MMAP_UNIT = 1 };
#else
struct segment { u32 type; unsigned long offset, at, physical, in_file, in_memory; u32 flags, align; };
enum { MMAP_UNIT = 4096 };
#endif
struct elf {
	u8 ident[16];
	u16 type, machine;
	u32 version;
	unsigned long entry, segments, sections;
	u32 flags;
	u16 size, segment_size, segment_count;
};
enum { HEAD = 1024 }; /* bytes in which the segments are listed (packer.py) */
enum { LOAD = 1, CAN_RUN = 1, CAN_WRITE = 2, CAN_READ = 4 };
enum { AT_PHDR = 3, AT_PHNUM = 5, AT_PAGESZ = 6, AT_ENTRY = 9 };

static const char no_memory[] = "there is not enough memory";

static void say(const char *s)
{
	u32 n = 0;
	while (s[n])
		n++;
	sys(WRITE, 2, (long)s, n, 0, 0, 0);
}

__attribute__((noreturn)) static void die(const char *why)
{
	say("this program cannot be started: ");
	say(why);
	say("\n");
	for (;;)
		sys(EXIT, 126, 0, 0, 0, 0, 0);
}

/* The compiler may call these too. */
void *memset(void *to, int value, unsigned long n)
{
	for (u8 *p = to; n; n--)
		*p++ = (u8)value;
	return to;
}

void *memcpy(void *to, const void *from, unsigned long n)
{
	u8 *p = to;
	for (const u8 *q = from; n; n--)
		*p++ = *q++;
	return to;
}

static int failed(long result) { return (unsigned long)result > -4096ul; }

static long map(unsigned long at, unsigned long size, int access, int flags, long fd, unsigned long from)
{
	return sys(MMAP, (long)at, (long)size, access, flags, fd, (long)(from / MMAP_UNIT));
}

/* Whether a byte of the file is there: where it was cut off, touching it would be a SIGBUS; the
 * kernel only says that the address is bad. */
static int missing(const void *byte)
{
	return sys(ACCESS, HERE, (long)byte, 0, 0, 0, 0) == BAD_ADDRESS;
}

/* Returns a descriptor of this very program as the first process has it in memory, or -1. */
static long of_the_first(const struct payload *p)
{
	char path[] = "/proc/1/fd/100", wanted[] = "/memfd:mt-0123456789ab (deleted)";
	char found[sizeof wanted];
	for (u32 i = 0; i < 15; i++)
		wanted[7 + i] = p->name[i];
	for (u32 n = 0; n < TRIED; n++) {
		path[sizeof path - 2] = (char)('0' + n);
		long length = sys(READLINKAT, HERE, (long)path, (long)found, sizeof found, 0, 0);
		int same = length == sizeof wanted - 1;
		for (u32 i = 0; same && i < sizeof wanted - 1; i++)
			same = wanted[i] == found[i];
		long fd = same ? sys(OPENAT, HERE, (long)path, CLOEXEC, 0, 0, 0) : -1;
		if (fd < 0)
			continue;
		/* Sealed is only what was found right. */
		long seals = sys(FCNTL, fd, GET_SEALS, 0, 0, 0, 0);
		if (seals >= 0 && (seals & SEALED) == SEALED)
			return fd;
		sys(CLOSE, fd, 0, 0, 0, 0, 0);
	}
	return -1;
}

static long new_file(const struct payload *p)
{
	long fd = sys(MEMFD, (long)p->name, MFD_CLOEXEC | ALLOW_SEALING | NOEXEC_SEAL, 0, 0, 0, 0);
	if (fd < 0) /* before Linux 6.3 */
		fd = sys(MEMFD, (long)p->name, MFD_CLOEXEC | ALLOW_SEALING, 0, 0, 0, 0);
	if (fd >= 0 && sys(FTRUNCATE, fd, (long)p->size, 0, 0, 0, 0) < 0) {
		sys(CLOSE, fd, 0, 0, 0, 0, 0);
		fd = -1;
	}
	return fd;
}

static void unpack_to(const struct payload *p, u8 *out)
{
	u16 probs[PROBS_MOST];
	long room = p->tables_size ? map(0, p->tables_size, READABLE | WRITABLE, OWN | NO_FILE, -1, 0) : 0;
	if (failed(room))
		die(no_memory);
	const char *wrong = unpack(p, out, probs, (void *)room);
	if (wrong)
		die(wrong);
	if (room)
		sys(MUNMAP, room, (long)p->tables_size, 0, 0, 0, 0);
}

/* What was written as data is about to be run as code: the kernel sees to it where it maps a file;
 * for memory of our own we say it. */
static void sync(unsigned long from, unsigned long to)
{
#if defined(__aarch64__)
	unsigned long kinds;
	__asm__ volatile("mrs %0, ctr_el0" : "=r"(kinds));
	unsigned long line = 4ul << (kinds >> 16 & 15), at;
	for (at = from & -line; at < to; at += line)
		__asm__ volatile("dc cvau, %0" ::"r"(at) : "memory");
	__asm__ volatile("dsb ish" ::: "memory");
	line = 4ul << (kinds & 15);
	for (at = from & -line; at < to; at += line)
		__asm__ volatile("ic ivau, %0" ::"r"(at) : "memory");
	__asm__ volatile("dsb ish\n\tisb" ::: "memory");
#elif defined(__arm__)
	sys(CACHEFLUSH, (long)from, (long)to, 0, 0, 0, 0);
#else
	(void)from, (void)to;
#endif
}

/* Looks up byte `x` of the program: returns how many bytes from there on are of one kind, at most
 * `most`, and at `from` where they stand unpacked if they are own ones, or 0. */
static u32 stretch(const struct payload *p, const u8 *own, u32 x, u32 most, const u8 **from)
{
	*from = 0;
	for (u32 i = 0; i < 2; i++) {
		const struct own *o = p->own + i;
		if (x < o->at) {
			return o->at - x < most ? o->at - x : most;
		} else if (x - o->at < o->size) {
			u32 left = o->size - (x - o->at);
			*from = own + (i ? p->own[0].size : 0) + (x - o->at);
			return left < most ? left : most;
		}
	}
	return most;
}

/* Puts a segment where it belongs, out of the file `fd`, or out of `memory` if there is none; pages
 * that each process has for itself are at `own`. */
static void place(const struct payload *p, const struct segment *s, long fd, const u8 *memory,
		  const u8 *own, unsigned long page)
{
	unsigned long first = s->at & -page, end = s->at + s->in_file, mapped = (end + page - 1) & -page;
	unsigned long last = (s->at + s->in_memory + page - 1) & -page;
	u32 offset = (u32)(s->offset - (s->at - first));
	int access = (s->flags & CAN_READ ? READABLE : 0) | (s->flags & CAN_WRITE ? WRITABLE : 0) |
		     (s->flags & CAN_RUN ? RUNNABLE : 0);
	if (!s->in_file)
		mapped = end = first;
	/* From the page's beginning, as a file would be mapped. */
	if (memory && end > first &&
	    failed(map(first, end - first, READABLE | WRITABLE, OWN | FIXED | NO_FILE, -1, 0)))
		die(no_memory);
	for (unsigned long at = first; at < end;) {
		const u8 *from;
		u32 x = offset + (u32)(at - first);
		u32 size = stretch(p, own, x, (u32)(end - at), &from);
		if (memory && !from)
			from = memory + x + shift(p, x);
		int flags = OWN | FIXED | (from ? NO_FILE : 0);
		if (!memory && failed(map(at, size, access, flags, from ? -1 : fd, from ? 0 : x + shift(p, x))))
			die(no_memory);
		if (from)
			memcpy((void *)at, from, size);
		at += size;
	}
	if (memory && end > first) {
		if (s->flags & CAN_RUN)
			sync(first, end);
		if (failed(sys(MPROTECT, (long)first, (long)(mapped - first), access, 0, 0, 0)))
			die(no_memory);
	}
	if (s->in_memory <= s->in_file)
		return;
	if (s->in_file && s->flags & CAN_WRITE)
		memset((void *)end, 0, mapped - end);
	if (last > mapped && failed(map(mapped, last - mapped, access, OWN | FIXED | NO_FILE, -1, 0)))
		die(no_memory);
}

/* Maps the program and returns where it begins; `vector` is what the kernel told us of ourselves,
 * and tells of the program afterwards. It is in `memory`, or in the file `fd` if that is 0, and its
 * own pages are at `own`. */
static unsigned long enter(const struct payload *p, long fd, u8 *memory, const u8 *own,
			   unsigned long *vector)
{
	u8 head[HEAD] __attribute__((aligned(16)));
	unsigned long page = 4096, table = 0, kept = own_size(p);
	for (unsigned long *v = vector; v[0]; v += 2)
		if (v[0] == AT_PAGESZ)
			page = v[1];
	if (!memory) {
		long here = map(0, p->size, READABLE | RUNNABLE, OWN, fd, 0);
		/* Not everybody may run what is in such a file, and of larger pages there are parts. */
		if (failed(here) || (page > PAGE && own_size(p))) {
			here = map(0, p->size, READABLE, OWN, fd, 0);
			if (failed(here))
				die(no_memory);
			memory = (u8 *)here;
		}
		memcpy(head, (const u8 *)here + shift(p, 0), HEAD);
		if (!memory)
			sys(MUNMAP, here, (long)p->size, 0, 0, 0, 0);
	} else {
		memcpy(head, memory + shift(p, 0), HEAD);
	}
	const struct elf *e = (const struct elf *)head;
	const struct segment *s = (const struct segment *)(head + e->segments);
	for (u32 i = 0; i < e->segment_count; i++, s++) {
		if (s->type != LOAD)
			continue;
		if (e->segments - s->offset < s->in_file)
			table = s->at + e->segments - s->offset;
		place(p, s, fd, memory, own, page);
		/* They are in the file's order: what was copied is not needed again. */
		unsigned long done = s->offset + s->in_file;
		done = (done + shift(p, (u32)done)) & -page;
		if (memory && done > kept) {
			sys(MUNMAP, (long)(memory + kept), (long)(done - kept), 0, 0, 0, 0);
			kept = done;
		}
	}
	if (memory)
		sys(MUNMAP, (long)memory, (long)p->size, 0, 0, 0, 0);
	for (unsigned long *v = vector; v[0]; v += 2)
		if (v[0] == AT_PHDR)
			v[1] = table;
		else if (v[0] == AT_PHNUM)
			v[1] = e->segment_count;
		else if (v[0] == AT_ENTRY)
			v[1] = e->entry;
	/* What was packed goes; this code stays. */
	unsigned long code = ((unsigned long)after_stub + page - 1) & -page;
	unsigned long end = (unsigned long)end_of(p);
	if (end > code)
		sys(MUNMAP, (long)code, (long)(end - code), 0, 0, 0, 0);
	return e->entry;
}

/* Gives back what of the unpacked program in `out` nobody will look at: its own pages, once they
 * are copied, and what lies between its segments. */
static void thin(const struct payload *p, u8 *out)
{
	u32 own = own_size(p), done = HEAD;
	const struct elf *e = (const struct elf *)(out + shift(p, 0));
	const struct segment *s = (const struct segment *)((const u8 *)e + e->segments);
	if (own)
		sys(MADVISE, (long)out, (long)own, REMOVE, 0, 0, 0);
	for (u32 i = 0; i <= e->segment_count; i++, s++) {
		int behind = i == e->segment_count;
		if (!behind && s->type != LOAD)
			continue;
		/* The bytes from `done` on, up to this segment, are in none. */
		u32 until = behind ? (p->size + PAGE - 1) & -PAGE : (u32)s->offset & -PAGE;
		u32 from = (done + PAGE - 1) & -PAGE;
		u32 more = until ? shift(p, until - 1) : 0;
		from += more, until += more;
		if (until > from)
			sys(MADVISE, (long)(out + from), (long)(until - from), REMOVE, 0, 0, 0);
		if (!behind)
			done = (u32)(s->offset + s->in_file);
	}
}

/* Returns memory for the own pages. */
static u8 *own_room(const struct payload *p)
{
	long room = map(0, own_size(p) + OWN_SLACK, READABLE | WRITABLE, OWN | NO_FILE, -1, 0);
	if (failed(room))
		die(no_memory);
	return (u8 *)room;
}

/* Returns a descriptor of the unpacked program, or -1 and its place in `memory`; its own pages are at
 * `own`. */
static long unpacked(const struct payload *p, const u32 *table, int first, u8 **memory, u8 **own)
{
	if (missing(end_of(p) - 1))
		die("it is cut off");
	const char *wrong = check_stream(p, table);
	if (wrong)
		die(wrong);
	long fd = new_file(p);
	long out = map(0, p->size, READABLE | WRITABLE, fd < 0 ? OWN | NO_FILE : SHARED, fd, 0);
	if (failed(out))
		die(no_memory);
	unpack_to(p, (u8 *)out);
	if (fd < 0) {
		*memory = *own = (u8 *)out;
		return fd;
	}
	if (own_size(p)) {
		*own = own_room(p);
		memcpy(*own, (const u8 *)out, own_size(p));
	}
	thin(p, (u8 *)out);
	sys(MUNMAP, out, (long)p->size, 0, 0, 0, 0);
	int sealed = sys(FCNTL, fd, ADD_SEALS, SEALED, 0, 0, 0) == 0;
	if (first && sealed)
		sys(FCNTL, fd, DUP_CLOEXEC, KEPT, 0, 0, 0);
	return fd;
}

/* Unpacks the own pages alone, for who shares the rest. */
static u8 *again(const struct payload *p, const u32 *table)
{
	u16 probs[PROBS_MOST];
	if (missing(end_of(p) - 1))
		die("it is cut off");
	u8 *own = own_room(p);
	const char *wrong = unpack_own(p, own, probs, table);
	if (wrong)
		die(wrong);
	return own;
}

/* Gives the packed file's pages back, which the container's memory is charged for: nobody reads them
 * again before the next start. Best effort. */
static void forget_file(void)
{
	long fd = sys(OPENAT, HERE, (long)"/proc/self/exe", CLOEXEC, 0, 0, 0);
	if (fd < 0)
		return;
#if defined(__arm__) /* arm_fadvise64_64: numbers of 64 bits stand in pairs of registers */
	sys(ADVISE_FILE, fd, FILE_NOT_NEEDED, 0, 0, 0, 0);
#else
	sys(ADVISE_FILE, fd, 0, 0, FILE_NOT_NEEDED, 0, 0);
#endif
	sys(CLOSE, fd, 0, 0, 0, 0, 0);
}

/* Gives back the stack below: it was for unpacking. */
__attribute__((noinline)) static void forget(void)
{
	u8 here;
	unsigned long low = ((unsigned long)&here - 512) & -(unsigned long)PAGE;
	sys(MADVISE, (long)(low - STACK_USED), STACK_USED, NOT_NEEDED, 0, 0, 0);
}

void stub_main(long *stack)
{
	const struct payload *p = (const struct payload *)after_stub;
	unsigned long *vector = (unsigned long *)stack + stack[0] + 2;
	while (*vector++) /* the environment, which a zero ends */
		;
	u32 table[1024];
	u8 *memory = 0, *own = 0;
	int first = sys(GETPID, 0, 0, 0, 0, 0, 0) == 1;

	if (missing(p) || missing(p + 1))
		die("it is cut off");
	crc_table(table);
	const char *wrong = check_head(file, p, table);
	if (wrong)
		die(wrong);
	long fd = first ? -1 : of_the_first(p);
	if (fd < 0)
		fd = unpacked(p, table, first, &memory, &own);
	else if (own_size(p))
		own = again(p, table);
	u32 room = own_size(p) + OWN_SLACK; /* the header goes */
	unsigned long entry = enter(p, fd, memory, own, vector);
	if (fd >= 0)
		sys(CLOSE, fd, 0, 0, 0, 0, 0);
	if (own && own != memory)
		sys(MUNMAP, (long)own, room, 0, 0, 0, 0);
	if (first)
		forget_file();
	forget();
	leave(entry, stack);
}
