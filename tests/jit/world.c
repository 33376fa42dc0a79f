/* See world.h.  SDM vol. 3 ch. 4.5 (paging), 6.14 (64-bit interrupts, IST). */
#include "tests/jit/world.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bus.h"
#include "vmm/engine.h"
#include "vmm/inout.h"
#include "vmm/jit/jit.h"
#include "vmm/mem.h"
#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"

enum {
	PDPT_LOW = 0x3000, PD_LOW = 0x4000, PDPT_HIGH = 0x5000, PD_HIGH = 0x6000, PDPT_MID = 0x7000, PD_MID = 0x8000, PD_MID_B = 0x9000,
	PDPT_MID_B = 0xe000, PT_SYS = 0xd000, IDT = 0x11000, GDT = 0x10000, TSS = 0x10800, STACK = 0x14000, MONITOR = 0x15000,
	SYSTEM_END = 0x20000, PORT = 0xe0,
};
enum { P = 1, W = 2, U = 4, G = 0x100 };
#define NX	(1ull << 63)

_Static_assert(offsetof(struct round, rip) == 40 && offsetof(struct round, gpr) == 80 && offsetof(struct round, fs_base) == 208
	       && offsetof(struct round, port) == 224 && offsetof(struct round, cr0) == 232 && offsetof(struct round, fx) == 256 && offsetof(struct round, end_gpr) == 768
	       && offsetof(struct round, vector) == 896 && offsetof(struct round, end_fx) == 1024, "the code below");

/* What the guest runs besides the program: begins a round, keeps what came of it. */
__asm__(
".pushsection .rodata\n"
".globl world_monitor, world_monitor_end, world_stubs\n"
"world_monitor:\n"
"	jmp	next\n"
"	.balign 8\n"
"current: .quad 0xffffffff90018000\n"
"last:	.quad 0\n"
"next:	mov	current(%rip), %rbx\n"
"	cmp	last(%rip), %rbx\n"
"	jae	3f\n"
"	mov	224(%rbx), %eax\n"
"	test	%eax, %eax\n"
"	jz	1f\n"
"	out	%eax, $0xe0\n"
"1:	mov	8(%rbx), %rax\n"
"	test	%rax, %rax\n"
"	jz	1f\n"
"	mov	16(%rbx), %rcx\n"
"	mov	%rcx, (%rax)\n"
"1:	mov	32(%rbx), %rax\n"
"	mov	%rax, %cr4\n"
"	cmpq	$0, 24(%rbx)\n"
"	je	1f\n"
"	mov	%rax, %rcx\n"
"	xor	$0x80, %rcx\n"
"	mov	%rcx, %cr4\n"
"	mov	%rax, %cr4\n"
"1:	mov	(%rbx), %rax\n"
"	mov	%rax, %cr3\n"
"	mov	$0xc0000100, %ecx\n"
"	mov	208(%rbx), %eax\n"
"	mov	212(%rbx), %edx\n"
"	wrmsr\n"
"	inc	%ecx\n"
"	mov	216(%rbx), %eax\n"
"	mov	220(%rbx), %edx\n"
"	wrmsr\n"
"	fxrstor64 256(%rbx)\n"
"	mov	232(%rbx), %rax\n"
"	mov	%rax, %cr0\n"
"	pushq	72(%rbx)\n"
"	pushq	64(%rbx)\n"
"	pushq	56(%rbx)\n"
"	pushq	48(%rbx)\n"
"	pushq	40(%rbx)\n"
"	mov	80(%rbx), %rax\n"
"	mov	88(%rbx), %rcx\n"
"	mov	96(%rbx), %rdx\n"
"	mov	120(%rbx), %rbp\n"
"	mov	128(%rbx), %rsi\n"
"	mov	136(%rbx), %rdi\n"
"	mov	144(%rbx), %r8\n"
"	mov	152(%rbx), %r9\n"
"	mov	160(%rbx), %r10\n"
"	mov	168(%rbx), %r11\n"
"	mov	176(%rbx), %r12\n"
"	mov	184(%rbx), %r13\n"
"	mov	192(%rbx), %r14\n"
"	mov	200(%rbx), %r15\n"
"	mov	104(%rbx), %rbx\n"
"	iretq\n"
"keep:	push	%rbx\n"
"	mov	current(%rip), %rbx\n"
"	mov	%rax, 768(%rbx)\n"
"	mov	%rcx, 776(%rbx)\n"
"	mov	%rdx, 784(%rbx)\n"
"	mov	%rbp, 808(%rbx)\n"
"	mov	%rsi, 816(%rbx)\n"
"	mov	%rdi, 824(%rbx)\n"
"	mov	%r8, 832(%rbx)\n"
"	mov	%r9, 840(%rbx)\n"
"	mov	%r10, 848(%rbx)\n"
"	mov	%r11, 856(%rbx)\n"
"	mov	%r12, 864(%rbx)\n"
"	mov	%r13, 872(%rbx)\n"
"	mov	%r14, 880(%rbx)\n"
"	mov	%r15, 888(%rbx)\n"
"	popq	792(%rbx)\n"
"	lea	896(%rbx), %rdi\n"
"	mov	%rsp, %rsi\n"
"	mov	$7, %ecx\n"
"	cld\n"
"	rep movsq\n"
"	mov	%cr2, %rax\n"
"	mov	%rax, (%rdi)\n"
"	mov	$0x80050033, %eax\n"
"	mov	%rax, %cr0\n"
"	fxsave64 1024(%rbx)\n"
"	lea	56(%rsp), %rsp\n"
"	addq	$2048, current(%rip)\n"
"	jmp	next\n"
"3:	hlt\n"
"	jmp	3b\n"
"	.balign 16\n"
"world_stubs:\n"
"	.set	v, 0\n"
"	.rept	256\n"
"	.balign	16\n"
"	.if	v != 8 && v != 10 && v != 11 && v != 12 && v != 13 && v != 14 && v != 17\n"
"	pushq	$0\n"
"	.endif\n"
"	pushq	$v\n"
"	jmp	keep\n"
"	.set	v, v + 1\n"
"	.endr\n"
"world_monitor_end:\n"
".popsection\n");
extern const uint8_t world_monitor[], world_monitor_end[], world_stubs[];

static void put32(uint8_t *at, uint32_t v) { memcpy(at, &v, 4); }
static void put64(uint8_t *at, uint64_t v) { memcpy(at, &v, 8); }

static void map(uint8_t *image, uint32_t table, unsigned i, uint64_t to)
{
	put64(image + table + i * 8, to);
}

static uint64_t window_page(unsigned slot, bool user)
{
	uint64_t to = WORLD_WINDOW + slot * PAGE, bits = P | (user && slot != SLOT_SYSTEM ? U : 0);

	if (slot == SLOT_HOLE || slot == SLOT_HOLE2)
		return 0;
	return to | bits | (slot == SLOT_READ_ONLY ? 0 : W) | (slot == SLOT_NX ? NX : 0) | (user ? 0 : G);
}

void world_tables(uint8_t *image)
{
	for (unsigned root = WORLD_ROOT_A; root <= WORLD_ROOT_B; root += PAGE) {
		map(image, root, 0, PDPT_LOW | P | W | U);
		map(image, root, 511, PDPT_HIGH | P | W);
		map(image, root, 254, (root == WORLD_ROOT_A ? PDPT_MID : PDPT_MID_B) | P | W | U);
	}
	map(image, PDPT_LOW, 0, PD_LOW | P | W | U);
	map(image, PD_LOW, 2, WORLD_PT_W | P | W | U);
	map(image, PDPT_MID, 0, PD_MID | P | W | U);
	map(image, PD_MID, 2, WORLD_PT_W | P | W | U);
	map(image, PDPT_MID_B, 0, PD_MID_B | P | W | U);
	map(image, PD_MID_B, 2, WORLD_PT_B | P | W | U);
	map(image, PDPT_HIGH, 510, PD_HIGH | P | W);
	map(image, PD_HIGH, 2, WORLD_PT_K | P | W);
	map(image, PD_HIGH, 128, PT_SYS | P | W);
	for (unsigned i = 0; i < SLOTS; i++) {
		map(image, WORLD_PT_W, i, window_page(i, true));
		map(image, WORLD_PT_K, i, window_page(i, false));
		map(image, WORLD_PT_B, i, window_page(i < 2 ? 1 - i : i == SLOT_DATA ? SLOT_DATA2 : i, true));
	}
	for (unsigned i = 0; i < SYSTEM_END / PAGE; i++)
		map(image, PT_SYS, i, i * PAGE | P | W | G);
}

static void build(uint8_t *ram)
{
	world_tables(ram);
	put64(ram + GDT + 0x08, 0x00af9b000000ffff);
	put64(ram + GDT + 0x10, 0x00cf93000000ffff);
	put64(ram + GDT + 0x18, 0x00cff3000000ffff);
	put64(ram + GDT + 0x20, 0x00affb000000ffff);
	put64(ram + TSS + 36, WORLD_SYS + STACK);
	put32(ram + TSS + 100, 104 << 16);
	memcpy(ram + MONITOR, world_monitor, world_monitor_end - world_monitor);
	for (unsigned v = 0; v < 256; v++) {
		uint64_t to = WORLD_SYS + MONITOR + (world_stubs - world_monitor) + v * 16;
		uint8_t *gate = ram + IDT + v * 16;

		put32(gate, 0x08u << 16 | (to & 0xffff));
		put32(gate + 4, (to & 0xffff0000) | 0x8e01 | (v == 3 || v == 4 ? 3 << 13 : 0));
		put64(gate + 8, to >> 32);
	}
}

/* ---- the machine */

static void port_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	struct world *w = dev;

	(void)off, (void)size;
	if (w->patch)
		w->patch(w, value);
}

static uint64_t port_read(void *dev, uint64_t off, unsigned size)
{
	(void)dev, (void)off, (void)size;
	return ~0ull;
}

struct world *world_new(bool jit, bool lockstep)
{
	struct world *w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);
	struct bus_handler port = { .name = "port", .base = PORT, .len = 4, .read = port_read, .write = port_write, .dev = w };

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->vm.nvcpus = 1;
	w->vm.vcpu = &w->vcpu;
	w->vcpu.vm = &w->vm;
	w->vcpu.engine = w->vm.engine = &soft_engine;
	w->vm.config = &w->config;
	w->config.cpus = 1;
	w->config.cpu = X86_LEVEL_ALL;
	w->config.jit = jit;
	w->config.jit_cache = JIT_CACHE_MIN;
	w->config.jit_threshold = 1;
	w->config.jit_lockstep = lockstep;
	pthread_mutex_init(&w->vm.dev_lock, NULL);
	pthread_mutex_init(&w->vm.state_lock, NULL);
	if (mem_new(&w->vm.mem, 2 << 20, NULL, 0) || !(w->vm.bus = bus_new()) || bus_add_handler(w->vm.bus, &port)
	    || inout_new(&w->vcpu) || soft_engine.vcpu_new(&w->vcpu)) {
		free(w);
		return NULL;
	}
	soft_engine.reset(&w->vcpu);
	w->ram = mem_ram(w->vm.mem);
	build(w->ram);
	return w;
}

void world_free(struct world *w)
{
	soft_engine.vcpu_free(&w->vcpu);
	inout_free(&w->vcpu);
	bus_free(w->vm.bus);
	mem_free(w->vm.mem);
	free(w);
}

static struct x86_segment segment(uint16_t selector, uint32_t attr)
{
	return (struct x86_segment){ .selector = selector, .limit = 0xffffffff, .attr = attr | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G };
}

static void start(struct world *w)
{
	struct x86_state s;

	soft_engine.get_state(&w->vcpu, &s);
	s.rip = WORLD_SYS + MONITOR;
	s.rflags = 2;
	s.gpr[X86_RSP] = WORLD_SYS + STACK;
	s.cr0 = 0x80050033;
	s.cr3 = WORLD_ROOT_A;
	s.cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE | X86_CR4_PGE | X86_CR4_PCIDE;
	s.efer = X86_EFER_LMA | X86_EFER_LME | X86_EFER_NXE;
	s.xcr0 = x86_xcr0_bits(X86_LEVEL_ALL);
	memset(s.ymm_high, 0, sizeof(s.ymm_high));
	s.cr2 = 0;
	s.cpl = 0;
	s.halted = s.sti_shadow = s.nmi_blocked = false;
	s.dr[6] = 0xffff0ff0;
	s.dr[7] = 0x400;
	s.gdtr = (struct x86_table){ WORLD_SYS + GDT, 0x2f };
	s.idtr = (struct x86_table){ WORLD_SYS + IDT, 0xfff };
	s.seg[X86_CS] = segment(0x08, 0xb | X86_ATTR_L);
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		if (i != X86_CS)
			s.seg[i] = segment(0x10, 0x3 | X86_ATTR_DB);
	s.seg[X86_LDTR] = (struct x86_segment){ .attr = X86_ATTR_UNUSABLE };
	s.seg[X86_TR] = (struct x86_segment){ .selector = 0x28, .base = WORLD_SYS + TSS, .limit = 103, .attr = 0xb | X86_ATTR_P };
	soft_engine.set_state(&w->vcpu, &s);
}

struct round world_round(uint64_t rip, bool user)
{
	return (struct round){
		.cr0 = 0x80050033, .cr3 = WORLD_ROOT_A, .cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_PCIDE | X86_CR4_OSXSAVE,
		.rip = rip, .cs = user ? 0x23 : 0x08, .ss = user ? 0x1b : 0x10, .rflags = 2, .fx = { .fcw = 0x37f, .mxcsr = 0x1f80 },
		.rsp = (user ? WORLD_W1 : WORLD_WK) + (SLOT_STACK + 1) * PAGE - 64,
	};
}

enum vcpu_exit world_run(struct world *w, const uint8_t *image, unsigned rounds, struct x86_state *end)
{
	enum vcpu_exit exit;

	memcpy(w->ram + WORLD_PT_W, image + WORLD_PT_W, 3 * PAGE);
	memcpy(w->ram + WORLD_ROUNDS, image + WORLD_ROUNDS, ROUNDS * sizeof(struct round));
	memcpy(w->ram + WORLD_WINDOW, image + WORLD_WINDOW, WORLD_END - WORLD_WINDOW);
	put64(w->ram + MONITOR + 8, WORLD_SYS + WORLD_ROUNDS);
	put64(w->ram + MONITOR + 16, WORLD_SYS + WORLD_ROUNDS + rounds * sizeof(struct round));
	soft_engine.code_changed(&w->vm, WORLD_WINDOW, WORLD_END - WORLD_WINDOW);
	start(w);
	do {
		w->vcpu.kick_seen = w->vcpu.kick;
		exit = soft_engine.run(&w->vcpu);
	} while (exit == EXIT_KICKED && !w->enough);
	soft_engine.get_state(&w->vcpu, end);
	return exit;
}
