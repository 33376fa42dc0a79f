/*
 * vmm/jit/record.c - what is written down of translations: guest and host code
 * side by side, and a map from code memory to guest addresses for perf.
 *
 * Files are opened once, before there is a guest.  A unit is written when it
 * has been placed and before it runs, so its links are still open.  What is
 * executed at several linear addresses is told by the first.
 *
 * The map is a file as perf looks for it: /tmp/perf-PID.map, a line for each
 * piece of code with its start, its size (both hexadecimal) and a name.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/jit/unit.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/ops.h"
#include "vmm/x86/disasm.h"

struct jit_record {
	FILE *dump, *perf;
	uint64_t first, last;
	uint64_t units;
};

/* ---- what host code names */

#define NAMED(f)	{ offsetof(struct cpu, f), sizeof(((struct cpu *)0)->f), #f }
static const struct { size_t at, bytes; const char *name; } field[] = {
	NAMED(fl), NAMED(rip), NAMED(icount), NAMED(recheck), NAMED(rflags),
	NAMED(jit.base), NAMED(jit.tmp), NAMED(jit.code), NAMED(jit.calm.now[CALM]), NAMED(jit.calm), NAMED(jit.exit), NAMED(jit.host_sp), NAMED(jit.back), NAMED(jit.self),
	NAMED(jit.call_insn), NAMED(jit.at), NAMED(jit.ea), NAMED(jit.window), NAMED(jit.sse_in), NAMED(jit.avx_in), NAMED(jit.low4),
	NAMED(jit.low5), NAMED(jit), NAMED(simd.sse_go), NAMED(simd.avx_go), NAMED(simd.x87_go), NAMED(simd.fip), NAMED(simd.fdp), NAMED(simd.fop),
	NAMED(seg[SEG_FLAT_FS].base), NAMED(seg[SEG_FLAT_GS].base), NAMED(simd),
};

static const char *const gpr_names[GPR_SLOTS] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "0", "2G",
};

static const char *const set_names[MMU_SETS] = { [MMU_SUPERVISOR] = "supervisor", [MMU_USER] = "user", [MMU_OPEN] = "open" };

static bool put_table(FILE *f, int32_t disp)
{
	for (unsigned set = 0; set < MMU_SETS; set++) {
		if (disp != tlb_read_tags(set) && disp != tlb_write_tags(set) && disp != tlb_addends(set))
			continue;
		fprintf(f, "  ; TLB: %s", disp == tlb_read_tags(set) ? "read tag" : disp == tlb_write_tags(set) ? "write tag" : "addend");
		return true;
	}
	return false;
}

static void put_field(FILE *f, size_t at)
{
	const size_t gpr = offsetof(struct cpu, gpr);

	if (at >= gpr && at < gpr + 8 * GPR_SLOTS) {
		fprintf(f, "  ; guest %s", gpr_names[(at - gpr) / 8]);
		return;
	}
	for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++) {
		if (at < field[i].at || at >= field[i].at + field[i].bytes)
			continue;
		fprintf(f, "  ; %s", field[i].name);
		if (at > field[i].at)
			fprintf(f, "+%zu", at - field[i].at);
		return;
	}
}

static void put_pointer(FILE *f, const struct jit_unit *u, uint64_t p)
{
	uint64_t op = p - (uintptr_t)u->op, out = p - (uintptr_t)u->exit;

	if (op < u->ops * sizeof(u->op[0])) {
		fprintf(f, "  ; instruction %" PRIu64, op / sizeof(u->op[0]));
	} else if (out < u->exits * sizeof(u->exit[0])) {
		const struct jit_exit *e = &u->exit[out / sizeof(u->exit[0])];

		if (e->why == LEAVE_OP)
			fprintf(f, "  ; leave before instruction %u", e->op);
		else
			fprintf(f, "  ; leave for page%+" PRId64, e->target);
	}
}

static void put_target(FILE *f, const struct jit *j, uint64_t target)
{
	if (target == j->leave || target == j->leave_saved)
		fputs("  ; leave", f);
	else if (target == j->call)
		fputs("  ; call the interpreter", f);
}

static void put_names(FILE *f, const struct jit *j, const struct jit_unit *u, const struct x86_insn *x, uint32_t at)
{
	const struct x86_opcode *row = &x86_opcodes[x->row];

	if (op_dispatch[x->row].select == sel_lea && x->base == H_RSP && x->reg == H_RSP)
		fprintf(f, "  ; icount += %d", (int)(x->disp >> COUNT_SHIFT));
	else if (x->mem && x->seg == X86_GS && !put_table(f, x->disp))
		put_field(f, x->disp);
	else if (row->operand[0] == OP_Jz)
		put_target(f, j, (int64_t)at + x->len + x->disp);
	else if (x->mem && x->base == X86_REG_RIP)
		put_pointer(f, u, (uintptr_t)j->rx + at + x->len + x->disp);
}

/* ---- both sides */

static void put_bytes(FILE *f, const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fprintf(f, "%02x", bytes[i]);
	fprintf(f, "%*s", n < 12 ? 2 * (12 - n) + 1 : 1, "");
}

/* Host code [at, end), by offsets in code memory. */
static void put_host(FILE *f, const struct jit *j, const struct jit_unit *u, uint32_t at, uint32_t end)
{
	char text[X86_TEXT_MAX];
	struct x86_insn x;

	while (at < end) {
		const uint8_t *bytes = j->rw + at;

		if (x86_decode(bytes, end - at, 64, &x) != X86_DECODE_OK) {
			fprintf(f, "\t%8x  %02x\n", at++, *bytes);
			continue;
		}
		x86_disassemble(&x, at, 64, text, sizeof(text));
		fprintf(f, "\t%8x  ", at);
		put_bytes(f, bytes, x.len);
		fputs(text, f);
		put_names(f, j, u, &x, at);
		fputc('\n', f);
		at += x.len;
	}
}

static void put_guest(FILE *f, uint64_t rip, unsigned k, const uint8_t *bytes, const struct insn *in)
{
	char text[X86_TEXT_MAX];
	struct x86_insn x;

	if (x86_decode(bytes + in->off, in->len, 64, &x) != X86_DECODE_OK)
		return;
	x86_disassemble(&x, rip + in->off, 64, text, sizeof(text));
	fprintf(f, "%16" PRIx64 "  %2u  ", rip + in->off, k);
	put_bytes(f, bytes + in->off, in->len);
	fprintf(f, "%s\n", text);
}

/* Where the code of instruction k begins, or what stands behind the last. */
static uint32_t code_of(const struct jit_unit *u, unsigned k)
{
	return u->start + (k < u->ops ? u->op[k].at : u->code);
}

static void dump_unit(struct jit_record *r, const struct jit *j, const struct jit_unit *u, uint64_t rip, const uint8_t *bytes)
{
	FILE *f = r->dump;

	fprintf(f, "\nunit %" PRIu64 ": guest %" PRIx64 ", physical %" PRIx64 ", %s, %u instructions; code %x, %u bytes\n", r->units, rip,
		u->block->gpa, set_names[mode_set(u->block->mode)], u->ops, u->start, u->code);
	put_host(f, j, u, u->start, code_of(u, 0));
	for (unsigned k = 0; k < u->ops; k++) {
		put_guest(f, rip, k, bytes, &u->op[k].insn);
		put_host(f, j, u, code_of(u, k), code_of(u, k + 1));
	}
}

static void map_code(struct jit_record *r, const struct jit *j, uint32_t at, uint32_t bytes, const char *name, uint64_t rip)
{
	fprintf(r->perf, "%" PRIxPTR " %x %s", (uintptr_t)j->rx + at, bytes, name);
	if (rip)
		fprintf(r->perf, "%" PRIx64, rip);
	fputc('\n', r->perf);
}

void jit_record_unit(struct jit *j, const struct jit_unit *u, uint64_t rip, const uint8_t *bytes)
{
	struct jit_record *r = j->record;

	r->units++;
	if (r->dump && rip >= r->first && rip <= r->last) {
		dump_unit(r, j, u, rip, bytes);
		fflush(r->dump);
	}
	if (r->perf) {
		map_code(r, j, u->start, u->code, "guest:", rip);
		fflush(r->perf);
	}
}

/* ---- files */

static int complain(const char *what, const char *path)
{
	int err = -errno;

	fprintf(stderr, "cleave: %s: cannot write %s: %s\n", what, path, strerror(-err));
	return err;
}

/* Everybody may put something of that name there first, so it must be a new one. */
static FILE *open_map(char *path, size_t n)
{
	int fd;

	snprintf(path, n, "/tmp/perf-%d.map", (int)getpid());
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? NULL : fdopen(fd, "w");
}

int jit_record(struct cpu *cpu, const struct jit_records *want)
{
	struct jit *j = cpu->jit.j;
	struct jit_record *r;
	char path[40];

	if (!j || (!want->dump && !want->perf))
		return 0;
	r = j->record = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->first = want->first;
	r->last = want->last;
	if (want->dump) {
		r->dump = strcmp(want->dump, "-") ? fopen(want->dump, "we") : stdout;
		if (!r->dump)
			return complain("jit.dump", want->dump);
	}
	if (want->perf) {
		r->perf = open_map(path, sizeof(path));
		if (!r->perf)
			return complain("jit.perf", path);
		map_code(r, j, 0, j->first, "cleave:thunks", 0);
	}
	return 0;
}

void jit_record_end(struct jit *j)
{
	struct jit_record *r = j->record;

	if (!r)
		return;
	if (r->dump && r->dump != stdout)
		fclose(r->dump);
	if (r->perf)
		fclose(r->perf);
	free(r);
	j->record = NULL;
}
