/*
 * Programs that would reach beyond a page if accesses shared a look into the TLB
 * too freely (vmm/jit/window.c), or run into what the translator takes for empty.
 * Each has to end in the exception that it has in the interpreter, and leaves
 * alone what lies in this process where a wrong address would lead.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/jit/world.h"
#include "vmm/engine.h"
#include "vmm/x86/control.h"

/*
 * In RDI an address of data, in R14 how far this process's own datum is from it,
 * as the host sees both; RBX is 16, R12 1.  It runs twice.
 */
#define PROGRAMS										\
	/* two registers with another stride each, and a window that begins a stride away */	\
	X(other_stride, "mov [rdi + 1024], r8; mov rax, rdi; add rax, rbx; mov rcx, [rax]\n"	\
	  "mov rsi, rdi; add rsi, r14; mov [rsi], r8; ud2")					\
	/* BT begins the window, and the interpreter has it; the stride is another when it is opened */ \
	X(stride_gone, "mov [rdi + 1024], r8; bt [rdi], eax; mov rsi, rdi; add rsi, r14\n"	\
	  "xor r14d, r14d; mov ecx, [rdi]; mov [rsi], r8; ud2")				\
	/* the same, but the pointer has moved */						\
	X(pointer_gone, "mov [rdi + 1024], r8; bt [rdi], eax; mov rsi, rdi; add rdi, rbx\n"	\
	  "mov ecx, [rdi]; mov [rdi + 8], r8; add rsi, r14; mov [rsi], r8; ud2")		\
	/* a stride of 16 bytes keeps what is aligned, one of 1 does not */			\
	X(alignment, "mov [rdi + 1024], r8; movaps xmm2, xmm3; mov rax, rdi; add rax, rbx; movaps xmm0, [rax]\n" \
	  "mov rsi, rdi; add rsi, r12; movaps xmm1, [rsi]; ud2")				\
	/* from the last pages there are to page 0 */						\
	X(around, "mov rdi, -8192; mov ebx, 1365\n.rept 8\nmov al, [rdi]; add rdi, rbx\n.endr\nud2")	\
	/* strides that come back to the page by going all the way round */			\
	X(all_the_way, "mov [rdi + 1024], r8; mov rbx, 0x2492492492492493\n.rept 8\nmov [rdi], r8; add rdi, rbx\n.endr\nud2")	\
	/* many short instructions, over which a branch of 127 bytes has to find an island: the look's, and those of vectors that are not there */ \
	X(run_of_jcc, "test r8, r8; mov [rdi + 1024], r8; mov [rdi + 512], r8; mov [rdi], r8; mov rax, [rbx]\n" \
	  ".rept 26\njo 1f\n.endr\nlea rcx, [rdi + 1]\n1: ud2")				\
	X(run_of_fences, "mov [rdi + 1024], r8; mov [rdi + 512], r8; mov [rdi], r8; mov rax, [rbx]\n"	\
	  ".rept 7\nmovabs rdx, 0x1234567890abcdef\n.endr\n.rept 19\nlfence\n.endr\nlea rcx, [rdi + 1]; ud2") \
	X(run_behind_vectors, "movaps xmm0, xmm1; rdtsc; movaps xmm0, xmm1; rdtsc; movaps xmm0, xmm1; rdtsc\n" \
	  "xor eax, eax; xor edx, edx; movaps xmm0, xmm1\n.rept 23\njo 1f\n.endr\nlea rcx, [rdi + 1]\n1: ud2") \
	/* addresses whose complement is next to nothing */					\
	X(branch_1, "mov rax, -1; jmp rax")							\
	X(branch_2, "mov rax, -2; jmp rax")							\
	X(branch_3, "push -3; ret")								\
	X(branch_4, "mov rax, -4; call rax")							\
	X(branch_5, "mov rax, -5; jmp rax")

#define X(name, ...)	__asm__(".pushsection .rodata\n.intel_syntax noprefix\n" #name ":" __VA_ARGS__ "\n" #name "_end:\n" \
				".att_syntax\n.popsection\n"); extern const uint8_t name[], name##_end[];
PROGRAMS
#undef X

static const struct program_text { const char *name; const uint8_t *code, *end; } programs[] = {
#define X(name, ...)	{ #name, name, name##_end },
	PROGRAMS
#undef X
};

static uint64_t ours[3] = { 1, 2, 3 };

static void run(const struct program_text *p, bool jit, struct round *out)
{
	static uint8_t image[WORLD_END];
	struct world *w = world_new(jit, false);
	struct round *r = (struct round *)(image + WORLD_ROUNDS);
	const uint64_t data = WORLD_W1 + SLOT_DATA * PAGE + 256;
	struct x86_state end;

	assert_non_null(w);
	memset(image, 0, sizeof(image));
	world_tables(image);
	memcpy(image + WORLD_WINDOW, p->code, p->end - p->code);
	for (unsigned i = 0; i < 2; i++) {
		r[i] = world_round(WORLD_W1, true);
		r[i].gpr[3] = 16;
		r[i].gpr[7] = data;
		r[i].gpr[8] = 0xdeadbeef;
		r[i].gpr[12] = 1;
		r[i].gpr[14] = (uintptr_t)&ours[1] - (uintptr_t)(w->ram + WORLD_WINDOW + SLOT_DATA * PAGE + 256);
	}
	assert_int_equal(world_run(w, image, 2, &end), EXIT_HLT_FOREVER);
	memcpy(out, w->ram + WORLD_ROUNDS, 2 * sizeof(*out));
	world_free(w);
}

static void test_same_end(void **state)
{
	static struct round by_interpreter[2], by_translator[2];
	const struct program_text *p = *state;

	run(p, false, by_interpreter);
	run(p, true, by_translator);
	for (unsigned i = 0; i < 2; i++) {
		const struct round *want = &by_interpreter[i], *got = &by_translator[i];

		assert_int_equal(got->vector, want->vector);
		assert_int_equal(got->error, want->error);
		assert_int_equal(got->end_rip, want->end_rip);
		assert_int_equal(got->end_rsp, want->end_rsp);
		if (want->vector == 14)
			assert_int_equal(got->cr2, want->cr2);
		assert_memory_equal(got->end_gpr, want->end_gpr, 4 * sizeof(got->end_gpr[0]));
	}
	assert_int_equal(ours[0], 1);
	assert_int_equal(ours[1], 2);
	assert_int_equal(ours[2], 3);
}

int main(void)
{
	enum { N = sizeof(programs) / sizeof(programs[0]) };
	struct world *w = world_new(true, false);
	struct CMUnitTest tests[N];

	if (!w)
		return 77;		/* the host has no BMI2 */
	world_free(w);
	for (unsigned i = 0; i < N; i++)
		tests[i] = (struct CMUnitTest){ .name = programs[i].name, .test_func = test_same_end, .initial_state = (void *)&programs[i] };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
