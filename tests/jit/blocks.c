/*
 * Random programs by the interpreter and by the translator, from equal states:
 * registers, flags, faults, stored bytes and the count of instructions must
 * agree.
 *
 *	blocks [--seed S] [--cases N | --case N] [--lockstep]
 *
 * --case runs one, prints it, and leaves out what it does not need to differ.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "tests/jit/program.h"
#include "vmm/engine.h"
#include "vmm/jit/unit.h"
#include "vmm/soft/cpu.h"
#include "vmm/x86/decode.h"
#include "vmm/x86/disasm.h"
#include "vmm/x86/isa.h"

static struct world *world[2];		/* interpreter, translator */
static const char *const side[2] = { "interpreter", "translator " };
static struct program program;
static struct x86_state end[2];		/* how the last run left them */
static volatile sig_atomic_t progress, stalled;
static uint64_t endless, random_ones;

/* A case that does not end is left out: 20 ms of processor time without another one. */
static void on_tick(int sig)
{
	static int seen;

	(void)sig;
	if (seen == progress) {
		stalled = 1;
		for (unsigned i = 0; i < 2; i++) {
			world[i]->enough = true;
			vcpu_raise_kick(&world[i]->vcpu);
		}
	}
	seen = progress;
}

static void patch(struct world *w, uint32_t port)
{
	(void)port;
	if (!program.patched)
		return;
	memcpy(w->ram + WORLD_WINDOW + program.patched, &program.patch, 4);
	soft_engine.code_changed(&w->vm, WORLD_WINDOW + program.patched, 4);
}

/* ---- comparison */

static const char *const names[] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
};

static bool differ(char why[160], const char *what, unsigned i, uint64_t a, uint64_t b)
{
	if (a != b)
		snprintf(why, 160, "%s %u: %#llx, translated %#llx", what, i, (unsigned long long)a, (unsigned long long)b);
	return a != b;
}

static bool rounds_differ(const struct round *a, const struct round *b, unsigned i, char why[160])
{
	char what[40];

	for (unsigned k = 0; k < 16; k++) {
		snprintf(what, sizeof(what), "%s after round", names[k]);
		if (differ(why, what, i, a->end_gpr[k], b->end_gpr[k]))
			return true;
	}
	return differ(why, "vector of round", i, a->vector, b->vector) || differ(why, "error code of round", i, a->error, b->error)
		|| differ(why, "rip after round", i, a->end_rip, b->end_rip) || differ(why, "flags after round", i, a->end_rflags, b->end_rflags)
		|| differ(why, "rsp after round", i, a->end_rsp, b->end_rsp) || differ(why, "cr2 after round", i, a->cr2, b->cr2)
		|| differ(why, "mxcsr after round", i, a->end_fx.mxcsr, b->end_fx.mxcsr)
		|| differ(why, "x87 state after round", i, memcmp(&a->end_fx, &b->end_fx, 160), 0)
		|| differ(why, "xmm state after round", i, memcmp(&a->end_fx, &b->end_fx, 416), 0);
}

static bool states_differ(const struct x86_state *a, const struct x86_state *b, char why[160])
{
	for (unsigned i = 0; i < 16; i++)
		if (differ(why, "upper half of ymm", i, memcmp(a->ymm_high[i], b->ymm_high[i], 16), 0))
			return true;
	for (unsigned i = 0; i < X86_GPRS; i++)
		if (differ(why, "last register", i, a->gpr[i], b->gpr[i]))
			return true;
	for (unsigned i = 0; i < X86_SEGS; i++)
		if (differ(why, "segment base", i, a->seg[i].base, b->seg[i].base)
		    || differ(why, "segment", i, a->seg[i].selector, b->seg[i].selector))
			return true;
	return differ(why, "last rip", 0, a->rip, b->rip) || differ(why, "last flags", 0, a->rflags, b->rflags)
		|| differ(why, "cr3", 0, a->cr3, b->cr3) || differ(why, "cr4", 0, a->cr4, b->cr4);
}

static bool memory_differs(const struct world *a, const struct world *b, char why[160])
{
	for (unsigned i = WORLD_WINDOW; i < WORLD_END; i += PAGE)
		if (memcmp(a->ram + i, b->ram + i, PAGE))
			for (unsigned k = i; k < i + PAGE; k++)
				if (differ(why, "byte at", k - WORLD_WINDOW, a->ram[k], b->ram[k]))
					return true;
	return false;
}

/* True: the two agree. */
static bool run(char why[160])
{
	enum vcpu_exit exit[2];
	uint64_t count[2];
	const struct round *a, *b;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t before = soft_engine.instructions(&world[i]->vcpu);

		exit[i] = world_run(world[i], program.image, program.rounds, &end[i]);
		count[i] = soft_engine.instructions(&world[i]->vcpu) - before;
	}
	progress++;
	if (stalled) {
		stalled = 0;
		world[0]->enough = world[1]->enough = false;
		endless++;
		return true;
	}
	for (unsigned i = 0; i < program.rounds; i++) {
		a = (const struct round *)(world[0]->ram + WORLD_ROUNDS) + i;
		b = (const struct round *)(world[1]->ram + WORLD_ROUNDS) + i;
		if (rounds_differ(a, b, i, why))
			return false;
	}
	if (exit[1] == EXIT_ERROR)
		return snprintf(why, 160, "%s", world[1]->vcpu.error), false;
	return !differ(why, "exit", 0, exit[0], exit[1]) && !states_differ(&end[0], &end[1], why)
		&& !memory_differs(world[0], world[1], why) && !differ(why, "count", 0, count[0], count[1]);
}

/* Changed code may be RDRAND, or RDTSC and HLT: does the interpreter agree with itself? */
static bool same_again(void)
{
	static uint8_t before[WORLD_END];
	struct x86_state again;
	char why[160];

	memcpy(before, world[0]->ram, WORLD_END);
	world_run(world[0], program.image, program.rounds, &again);
	if (!states_differ(&end[0], &again, why)
	    && !memcmp(before + WORLD_WINDOW, world[0]->ram + WORLD_WINDOW, WORLD_END - WORLD_WINDOW)
	    && !memcmp(before + WORLD_ROUNDS, world[0]->ram + WORLD_ROUNDS, ROUNDS * sizeof(struct round)))
		return true;
	random_ones++;
	return false;
}

/* ---- one case, in words */

static bool is_blank(unsigned i)
{
	const uint8_t *bytes = program.image + WORLD_WINDOW + program.insn[i].at;
	unsigned k = 0;

	while (k < program.insn[i].len && bytes[k] == 0x90)
		k++;
	return k == program.insn[i].len;
}

/* One entry may be several: a branch with what limits it. */
static void print_program(void)
{
	for (unsigned i = 0; i < program.insns; i++) {
		unsigned at = program.insn[i].at, end = at + program.insn[i].len;

		while (at < end && !is_blank(i)) {
			const uint8_t *bytes = program.image + WORLD_WINDOW + at;
			char text[X86_TEXT_MAX] = "?";
			struct x86_insn x;

			if (x86_decode(bytes, X86_INSN_MAX, 64, &x) == X86_DECODE_OK)
				x86_disassemble(&x, at, 64, text, sizeof(text));
			else
				x.len = end - at;
			printf("  %05x  %-44s", at, text);
			for (unsigned k = 0; k < x.len; k++)
				printf(" %02x", bytes[k]);
			printf("\n");
			at += x.len;
		}
	}
}

static void print_round(unsigned i)
{
	const struct round *r = program_round(&program, i);

	printf("round %u: rip %llx cs %llx flags %llx cr3 %llx cr4 %llx pte %llx=%llx port %u fs %llx gs %llx\n", i, (unsigned long long)r->rip,
	       (unsigned long long)r->cs, (unsigned long long)r->rflags, (unsigned long long)r->cr3, (unsigned long long)r->cr4,
	       (unsigned long long)r->pte, (unsigned long long)r->pte_value, r->port, (unsigned long long)r->fs_base, (unsigned long long)r->gs_base);
	for (unsigned k = 0; k < 16; k++)
		printf("%s%-3s %016llx", k % 4 ? "  " : k ? "\n    " : "    ", names[k], (unsigned long long)(k == 4 ? r->rsp : r->gpr[k]));
	printf("\n");
	for (unsigned s = 0; s < 2; s++) {
		const struct round *e = (const struct round *)(world[s]->ram + WORLD_ROUNDS) + i;

		printf("  %s: vector %llu error %llx cr2 %llx rip %llx flags %llx rsp %llx", side[s], (unsigned long long)e->vector,
		       (unsigned long long)e->error, (unsigned long long)e->cr2, (unsigned long long)e->end_rip,
		       (unsigned long long)e->end_rflags, (unsigned long long)e->end_rsp);
		for (unsigned k = 0; k < 16; k++)
			printf("%s%-3s %016llx", k % 4 ? "  " : "\n    ", names[k], (unsigned long long)e->end_gpr[k]);
		printf("\n");
	}
}

/* Leaves out rounds and instructions as long as what is left differs. */
static void shrink(void)
{
	static uint8_t kept[64];
	char why[160];

	while (program.rounds > 1) {
		program.rounds--;
		if (!run(why))
			continue;
		program.rounds++;
		break;
	}
	for (unsigned i = 0; i + 1 < program.insns; i++) {
		uint8_t *bytes = program.image + WORLD_WINDOW + program.insn[i].at;

		memcpy(kept, bytes, program.insn[i].len);
		memset(bytes, 0x90, program.insn[i].len);
		if (run(why))
			memcpy(bytes, kept, program.insn[i].len);
	}
}

static void print_case(uint64_t seed, uint64_t number)
{
	char why[160] = "";
	bool same = run(why);

	printf("case %llu of seed %llu: %s\n", (unsigned long long)number, (unsigned long long)seed, same ? "no difference" : why);
	if (!same)
		shrink();
	print_program();
	run(why);
	for (unsigned i = 0; i < program.rounds; i++)
		print_round(i);
	if (!same)
		printf("DIFFERENT: %s\n", why);
}

/* ---- all of them */

static void print_translator(void)
{
	struct jit_stats s;

	jit_get_stats(world[1]->vcpu.engine_state, &s);
	printf("blocks: %llu units, %llu links, %llu evicted, %llu killed; %llu entries, %llu calls of the interpreter\n",
	       (unsigned long long)s.units, (unsigned long long)s.links, (unsigned long long)s.evicted, (unsigned long long)s.killed,
	       (unsigned long long)s.entries, (unsigned long long)s.calls);
}

static unsigned report_rows(const unsigned *drawn)
{
	unsigned never = 0;

	for (unsigned r = 0; r < x86_opcode_rows; r++)
		if (x86_opcodes[r].treatment <= T_MEM && !drawn[r] && x86_isa_offered(x86_row_isa(&x86_opcodes[r])) && !(x86_opcodes[r].properties & P_I64)) {
			never++;
			printf("blocks: %s (map %u, %02x) was never drawn\n", x86_opcodes[r].mnemonic, x86_opcodes[r].map, x86_opcodes[r].opcode);
		}
	return never;
}

int main(int argc, char **argv)
{
	uint64_t seed = 1, cases = 20000, only = UINT64_MAX, differences = 0, n;
	struct itimerval tick = { .it_value.tv_usec = 20000, .it_interval.tv_usec = 20000 };
	unsigned *drawn = calloc(x86_opcode_rows, sizeof(*drawn));
	bool lockstep = false;
	char why[160];

	for (int i = 1; i < argc; i++) {
		uint64_t v = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;

		if (!strcmp(argv[i], "--lockstep"))
			lockstep = true;
		else if (i + 1 == argc)
			return fprintf(stderr, "usage: blocks [--seed S] [--cases N | --case N] [--lockstep]\n"), 2;
		else if (!strcmp(argv[i], "--seed"))
			seed = v, i++;
		else if (!strcmp(argv[i], "--cases"))
			cases = v, i++;
		else if (!strcmp(argv[i], "--case"))
			only = v, i++;
		else
			return fprintf(stderr, "blocks: %s?\n", argv[i]), 2;
	}
	for (unsigned i = 0; i < 2; i++) {
		world[i] = world_new(i, i && lockstep);
		if (!world[i] || !drawn)
			return fprintf(stderr, "blocks: cannot set up\n"), 99;
		world[i]->patch = patch;
		if (i)
			((struct cpu *)world[i]->vcpu.engine_state)->jit.j->loop = seed % 2;	/* both ways, whatever the host */
	}
	sigaction(SIGVTALRM, &(struct sigaction) { .sa_handler = on_tick, .sa_flags = SA_ONSTACK | SA_RESTART }, NULL);
	setitimer(ITIMER_VIRTUAL, &tick, NULL);
	for (n = only == UINT64_MAX ? 0 : only; n < (only == UINT64_MAX ? cases : only + 1) && differences < 10; n++) {
		program_make(&program, seed, n, drawn);
		if (only != UINT64_MAX) {
			print_case(seed, n);
		} else if (!run(why) && same_again()) {
			differences++;
			printf("case %llu of seed %llu: %s\n", (unsigned long long)n, (unsigned long long)seed, why);
		}
	}
	if (only == UINT64_MAX)
		printf("blocks: seed %llu: %llu programs, %llu without an end, %llu told random numbers, %u rows never drawn, %llu differences\n",
		       (unsigned long long)seed, (unsigned long long)n, (unsigned long long)endless, (unsigned long long)random_ones, report_rows(drawn), (unsigned long long)differences);
	print_translator();
	for (unsigned i = 0; i < 2; i++)
		world_free(world[i]);
	free(drawn);
	return differences != 0;
}
