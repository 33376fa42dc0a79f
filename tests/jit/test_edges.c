/*
 * Where translated code meets what is not its own: another thread that changes a
 * divisor or raises an event, page tables that are code, mappings that change
 * under targets that were noted, and the end of canonical addresses.
 *
 * By the interpreter, too, where that can go wrong in the same way.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/jit/world.h"
#include "vmm/engine.h"
#include "vmm/jit/unit.h"
#include "vmm/soft/cpu.h"
#include "vmm/x86/control.h"

/* RAM beside the world's: 0x8140000000 is all of it once more, in large pages as often as a table has entries. */
enum { PDPT_ALL = 0x100000, PD_ALL = 0x101000, PDPT_EDGE = 0x102000, PD_EDGE = 0x103000, PT_EDGE = 0x104000, CALLED = 0x110000, CALLED_PAGES = 240 };
#define EDGE	0x00007ffffffff000ull
#define TABLE_ENTRY(slot)	"0xffffffff90000000 + 0xa000 + 8 * " #slot	/* of WORLD_PT_W, by WORLD_SYS */

/* More pages than both levels of the TLB hold. */
#define TOUCH_MANY	"mov r8, 0x8140000000; mov r9, 66000\n97: mov r10b, [r8]; add r8, 4096; dec r9; jnz 97b\n"

#define PROGRAMS										\
	X(divide, "xor edx, edx; xor eax, eax\n1: div dword ptr [rdi]; dec ecx; jnz 1b; ud2")	\
	/* what is called is the entry of its own page's table; A is cleared, and the walk sets it again */	\
	X(walks_itself, "mov rax, 0x406100; mov rbx, 0x600000 + 64 * 4096 + 8 * 64; mov r12, 0x40c000 + 8 * 64\n"	\
	  "call rbx; and byte ptr [r12], 0xdf; call rbx; call rbx; call rbx\n"			\
	  TOUCH_MANY "call rbx; call rbx; mov r13b, [r12]; ud2")				\
	/* the page goes while its code is nearly hot */					\
	X(page_goes, "mov rbx, 0x401000; mov r12, " TABLE_ENTRY(1) "\ncall rbx; call rbx; call rbx\n"	\
	  "and byte ptr [r12], 0xfe\n" TOUCH_MANY "jmp 1f\n1: .rept 8\nnop\n.endr\ncall rbx; ud2")	\
	/* two global pages; one is forgotten, then the other in another address space */	\
	X(global_pages, "mov r14, cr3; mov rcx, 0x8000000000001001; mov cr3, rcx\n"		\
	  "mov rsi, 0x406000; mov rbx, 0x407000; mov r12, " TABLE_ENTRY(7) "\n"			\
	  "call rsi; call rbx; invlpg [rsi]; call rbx\n"					\
	  "mov rcx, 0x8000000000001002; mov cr3, rcx; add qword ptr [r12], 0x1000; invlpg [rbx]\n"	\
	  "mov rcx, 0x8000000000001001; mov cr3, rcx; call rbx; mov cr3, r14; ud2")		\
	/* calls R15 pages, then an instruction across two, of which the first becomes another */	\
	X(crossing, "mov r12, " TABLE_ENTRY(7) "; xor r8d, r8d; mov r9, 0x8140000000 + 0x110000\n"	\
	  "1: mov rax, r8; xor edx, edx; mov ecx, 240; div rcx; shl rax, 21; shl rdx, 12\n"	\
	  "add rax, rdx; add rax, r9; call rax; inc r8; cmp r8, r15; jb 1b\n"			\
	  "mov rbx, 0x407ffe; call rbx; sub qword ptr [r12], 0x1000; invlpg [rbx]; call rbx; ud2")	\
	X(jmp_beyond, ".byte 0xe9; .long 0x2000")						\
	X(jcc_beyond, "test eax, eax; .byte 0x0f, 0x84; .long 0x2000; ud2")			\
	X(call_beyond, "push rax; pop rax; .byte 0xe8; .long 0x2000")				\
	X(one, "mov eax, 1; ret")								\
	X(two, "mov eax, 2; ret")

#define X(name, ...)	__asm__(".pushsection .rodata\n.intel_syntax noprefix\n" #name ":" __VA_ARGS__ "\n" #name "_end:\n" \
				".att_syntax\n.popsection\n"); extern const uint8_t name[], name##_end[];
PROGRAMS
#undef X
#define PUT(at, name)	memcpy(image + WORLD_WINDOW + (at), name, name##_end - name)

static uint8_t image[WORLD_END];

static void put64(uint8_t *at, uint64_t v) { memcpy(at, &v, 8); }

static struct world *begin(bool jit)
{
	struct world *w = world_new(jit, false);

	assert_non_null(w);
	memset(image, 0, sizeof(image));
	world_tables(image);
	put64(w->ram + WORLD_ROOT_A + 8, PDPT_ALL | 3);
	put64(w->ram + PDPT_ALL + 5 * 8, PD_ALL | 3);	/* where no filter takes it for what the programs INVLPG */
	put64(w->ram + WORLD_ROOT_A + 255 * 8, PDPT_EDGE | 3);
	put64(w->ram + PDPT_EDGE + 511 * 8, PD_EDGE | 3);
	put64(w->ram + PD_EDGE + 511 * 8, PT_EDGE | 3);
	put64(w->ram + PT_EDGE + 511 * 8, WORLD_WINDOW | 3);
	for (unsigned i = 0; i < 512; i++)
		put64(w->ram + PD_ALL + 8 * i, 0x83);
	for (unsigned i = 0; i < CALLED_PAGES; i++)
		w->ram[CALLED + i * PAGE] = 0xc3;
	return w;
}

static void set_round(unsigned i, uint64_t rip, bool user)
{
	((struct round *)(image + WORLD_ROUNDS))[i] = world_round(rip, user);
}

static struct round *go(struct world *w, unsigned rounds)
{
	struct x86_state end;

	assert_int_equal(world_run(w, image, rounds, &end), EXIT_HLT_FOREVER);
	return (struct round *)(w->ram + WORLD_ROUNDS);
}

static struct jit *jit_of(struct world *w)
{
	return ((struct cpu *)w->vcpu.engine_state)->jit.j;
}

/* ---- another thread, which may get no processor for a while: until something has been seen often, or for so long */

enum { PATIENCE_S = 2 };
static volatile bool enough;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *change_divisor(void *p)
{
	volatile uint32_t *at = p;
	unsigned seed = 1;

	while (!enough) {
		*at = !*at;
		for (volatile int i = rand_r(&seed) % 2000; i; i--)
			;
	}
	return NULL;
}

/* The host's division has faulted, the interpreter's does not: the divisor is no longer 0. */
static void divisor_that_changes(void **state)
{
	struct world *w = begin(*state != NULL);
	unsigned faults = 0;
	pthread_t thread;

	enough = false;
	assert_int_equal(pthread_create(&thread, NULL, change_divisor, w->ram + WORLD_WINDOW + SLOT_DATA * PAGE + 64), 0);
	PUT(0, divide);
	memset(image + WORLD_WINDOW + SLOT_DATA * PAGE, 1, PAGE);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct round *r = (struct round *)(image + WORLD_ROUNDS) + i;

		set_round(i, WORLD_W1, true);
		r->gpr[X86_RCX] = 100000;
		r->gpr[X86_RDI] = WORLD_W1 + SLOT_DATA * PAGE + 64;
	}
	for (double begun = seconds(); faults < 12000 && seconds() - begun < PATIENCE_S; ) {
		const struct round *r = go(w, ROUNDS);

		for (unsigned i = 0; i < ROUNDS; i++)
			faults += r[i].vector == 0;
	}
	enough = true;
	pthread_join(thread, NULL);
	assert_true(faults > 0);
	world_free(w);
}

static void *kick(void *p)
{
	struct world *w = p;
	unsigned seed = 1;

	while (!enough) {
		vcpu_raise_kick(&w->vcpu);
		for (volatile int i = rand_r(&seed) % 3000; i; i--)
			;
	}
	return NULL;
}

/* CLI; JMP; and STI as the last instruction of a page, or with LOOP behind it: whoever stops behind STI sees its shadow. */
static void behind_sti(void **state, bool loop)
{
	const unsigned sti = loop ? 0xf00 : 0xfff;
	struct world *w = begin(*state != NULL);
	uint8_t *p = image + WORLD_WINDOW;
	unsigned there = 0, unshadowed = 0, back;
	struct x86_state s;
	pthread_t thread;

	enough = false;
	p[0xe80] = 0xfa, p[0xe81] = 0xe9;
	memcpy(p + 0xe82, &(int32_t){ sti - 0xe86 }, 4);
	p[sti] = 0xfb;
	if (loop)
		p[sti + 1] = 0xe2, p[sti + 2] = 0;
	else
		p[0x1000] = 0x90;
	back = sti + (loop ? 3 : 2);
	p[back] = 0xe9;
	memcpy(p + back + 1, &(int32_t){ 0xe80 - (int32_t)(back + 5) }, 4);
	set_round(0, WORLD_WK + 0xe80, false);
	w->enough = true;
	assert_int_equal(pthread_create(&thread, NULL, kick, w), 0);
	world_run(w, image, 1, &s);
	for (double begun = seconds(); there < 200 && seconds() - begun < PATIENCE_S; ) {
		w->vcpu.kick_seen = w->vcpu.kick;
		assert_int_equal(soft_engine.run(&w->vcpu), EXIT_KICKED);
		soft_engine.get_state(&w->vcpu, &s);
		if (s.rip == WORLD_WK + sti + 1) {
			there++;
			unshadowed += !s.sti_shadow;
		}
	}
	enough = true;
	pthread_join(thread, NULL);
	assert_int_equal(unshadowed, 0);
	assert_true(there > 0);
	world_free(w);
}

static void sti_at_the_end(void **state) { behind_sti(state, false); }
static void sti_before_loop(void **state) { behind_sti(state, true); }

/* ---- mappings */

static bool is_kept(struct world *w, const struct block *wanted)
{
	const struct block_cache *c = ((struct cpu *)w->vcpu.engine_state)->blocks;

	for (unsigned i = 0; i < BLOCK_BUCKETS; i++)
		for (const struct block *b = c->bucket[i]; b; b = b->bucket_next)
			if (b == wanted)
				return true;
	return false;
}

static void table_that_is_code(void **state)
{
	struct world *w = begin(*state != NULL);
	const struct round *r;

	PUT(0, walks_itself);
	put64(image + WORLD_WINDOW + SLOT_SYSTEM * PAGE + 64 * 8, (WORLD_WINDOW + SLOT_SYSTEM * PAGE) | 0x803);	/* 03 08: add ecx, [rax] */
	image[WORLD_WINDOW + SLOT_SYSTEM * PAGE + 65 * 8] = 0xc3;
	put64(image + WORLD_PT_W + SLOT_SYSTEM * 8, (WORLD_WINDOW + SLOT_SYSTEM * PAGE) | 3);
	put64(w->ram + 0x4000 + 3 * 8, (WORLD_WINDOW + SLOT_SYSTEM * PAGE) | 3);
	set_round(0, WORLD_WK, false);
	jit_of(w)->threshold = 4;
	r = go(w, 1);
	assert_int_equal(r->vector, 6);
	assert_true(r->end_gpr[X86_R13] & 0x20);	/* there was a walk */
	for (struct jit_unit *u = jit_of(w)->oldest; u; u = u->newer)
		assert_true(!u->block || is_kept(w, u->block));
	world_free(w);
}

static void page_gone_when_hot(void **state)
{
	struct world *w = begin(*state != NULL);
	const struct round *r;

	PUT(0, page_goes);
	PUT(PAGE, one);
	set_round(0, WORLD_WK, false);
	jit_of(w)->threshold = 4;
	r = go(w, 1);
	assert_int_equal(r->vector, 14);
	assert_int_equal(r->cr2, WORLD_W1 + PAGE);
	assert_int_equal(r->end_rip, WORLD_W1 + PAGE);
	world_free(w);
}

static void global_page_changes(void **state)
{
	struct world *w = begin(*state != NULL);
	const struct round *r;

	PUT(0, global_pages);
	PUT(6 * PAGE, one);
	PUT(7 * PAGE, one);
	PUT(8 * PAGE, two);
	for (unsigned i = 6; i < 9; i++)
		put64(image + WORLD_PT_W + i * 8, (WORLD_WINDOW + i * PAGE) | 0x103);
	set_round(0, WORLD_WK, false);
	r = go(w, 1);
	assert_int_equal(r->vector, 6);
	assert_int_equal(r->end_gpr[X86_RAX], 2);
	world_free(w);
}

/* As many targets as the filter that tells of them takes, or some less or more. */
static void crossing_page_changes(void **state)
{
	for (unsigned n = 4080; n < 4100; n++) {
		struct world *w = begin(*state != NULL);
		const struct round *r;

		PUT(0, crossing);
		memcpy(image + WORLD_WINDOW + 0x7ffe, "\xb8\x01", 2);
		memcpy(image + WORLD_WINDOW + 0x6ffe, "\xb8\x02", 2);
		image[WORLD_WINDOW + 0x8003] = 0xc3;
		for (unsigned i = 6; i < 9; i++)
			put64(image + WORLD_PT_W + i * 8, (WORLD_WINDOW + i * PAGE) | 3);
		set_round(0, WORLD_WK, false);
		((struct round *)(image + WORLD_ROUNDS))->gpr[X86_R15] = n;
		r = go(w, 1);
		assert_int_equal(r->vector, 6);
		assert_int_equal(r->end_gpr[X86_RAX], 2);
		world_free(w);
	}
}

/* ---- the end of addresses */

static void beyond(void **state, const uint8_t *code, const uint8_t *end, unsigned at)
{
	struct world *w = begin(*state != NULL);
	const struct round *r;

	memcpy(image + WORLD_WINDOW + 16, code, end - code);
	for (unsigned i = 0; i < 3; i++)
		set_round(i, EDGE + 16, false);
	r = go(w, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(r[i].vector, 13);
		assert_int_equal(r[i].end_rip, EDGE + 16 + at);
		assert_int_equal(r[i].end_rsp, WORLD_WK + (SLOT_STACK + 1) * PAGE - 64);
	}
	/* PUSH has stored 0 there, and CALL nothing */
	assert_int_equal(*(uint64_t *)(w->ram + WORLD_WINDOW + (SLOT_STACK + 1) * PAGE - 72), 0);
	world_free(w);
}

static void jmp_at_the_edge(void **state) { beyond(state, jmp_beyond, jmp_beyond_end, 0); }
static void jcc_at_the_edge(void **state) { beyond(state, jcc_beyond, jcc_beyond_end, 2); }
static void call_at_the_edge(void **state) { beyond(state, call_beyond, call_beyond_end, 2); }

#define ALONE(test)	{ .name = #test, .test_func = test, .initial_state = &translated }
#define BOTH(test)	{ .name = #test " (interpreter)", .test_func = test }, ALONE(test)

int main(void)
{
	static bool translated = true;
	const struct CMUnitTest tests[] = {
		/* first: cmocka takes SIGFPE for itself from the second test on */
		ALONE(divisor_that_changes),
		BOTH(sti_at_the_end), BOTH(sti_before_loop), ALONE(table_that_is_code), ALONE(page_gone_when_hot),
		BOTH(global_page_changes), BOTH(crossing_page_changes),
		BOTH(jmp_at_the_edge), BOTH(jcc_at_the_edge), BOTH(call_at_the_edge),
	};
	struct world *w = world_new(true, false);

	if (!w)
		return 77;		/* the host has no BMI2 */
	world_free(w);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
