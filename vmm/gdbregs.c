/*
 * vmm/gdbregs.c - the debugger's view of the registers: order, width, description.
 *
 * GDB manual, "i386 Features": org.gnu.gdb.i386.core, .sse, .avx, .segments.  The
 * control registers are a feature of our own, which gdb shows as they come.
 */
#include <errno.h>
#include <string.h>

#include "vmm/gdb.h"
#include "vmm/x86/control.h"
#include "vmm/x86/flags.h"

enum kind { PLAIN, SELECTOR, TAGS, HIGH };

struct reg {
	uint16_t offset;
	uint8_t held, size;	/* bytes in the state; and for gdb, which sees the rest as zero */
	uint8_t kind;
};

struct gdb_regs {
	const char *xml;
	const struct reg *reg;
	unsigned count;
};

#define AT(f) offsetof(struct x86_state, f)
#define GPR(r, n) { AT(gpr[r]), n, n, PLAIN }
#define SEL(s) { AT(seg[s].selector), 2, 4, SELECTOR }
#define ST(n) { AT(fpu.st[n]), 10, 10, PLAIN }
#define XMM(n) { AT(fpu.xmm[n]), 16, 16, PLAIN }
#define YMMH(n) { AT(ymm_high[n]), 16, 16, PLAIN }
#define CONTROL(f, n) { AT(f), n, n, PLAIN }
#define FPU \
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7), \
	{ AT(fpu.fcw), 2, 4, PLAIN }, { AT(fpu.fsw), 2, 4, PLAIN }, { AT(fpu.ftw), 1, 4, TAGS }, \
	{ AT(fpu.fip), 8, 4, HIGH }, { AT(fpu.fip), 4, 4, PLAIN }, { AT(fpu.fdp), 8, 4, HIGH }, \
	{ AT(fpu.fdp), 4, 4, PLAIN }, { AT(fpu.fop), 2, 4, PLAIN }
#define SEGS SEL(X86_CS), SEL(X86_SS), SEL(X86_DS), SEL(X86_ES), SEL(X86_FS), SEL(X86_GS)

static const struct reg regs64[] = {
	GPR(X86_RAX, 8), GPR(X86_RBX, 8), GPR(X86_RCX, 8), GPR(X86_RDX, 8),
	GPR(X86_RSI, 8), GPR(X86_RDI, 8), GPR(X86_RBP, 8), GPR(X86_RSP, 8),
	GPR(X86_R8, 8), GPR(X86_R9, 8), GPR(X86_R10, 8), GPR(X86_R11, 8),
	GPR(X86_R12, 8), GPR(X86_R13, 8), GPR(X86_R14, 8), GPR(X86_R15, 8),
	{ AT(rip), 8, 8, PLAIN }, { AT(rflags), 4, 4, PLAIN }, SEGS, FPU,
	XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
	XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15), { AT(fpu.mxcsr), 4, 4, PLAIN },
	YMMH(0), YMMH(1), YMMH(2), YMMH(3), YMMH(4), YMMH(5), YMMH(6), YMMH(7),
	YMMH(8), YMMH(9), YMMH(10), YMMH(11), YMMH(12), YMMH(13), YMMH(14), YMMH(15),
	{ AT(seg[X86_FS].base), 8, 8, PLAIN }, { AT(seg[X86_GS].base), 8, 8, PLAIN },
	CONTROL(kernel_gs_base, 8), CONTROL(cr0, 8), CONTROL(cr2, 8), CONTROL(cr3, 8), CONTROL(cr4, 8), CONTROL(cr8, 8),
	CONTROL(efer, 8),
};

static const struct reg regs32[] = {
	GPR(X86_RAX, 4), GPR(X86_RCX, 4), GPR(X86_RDX, 4), GPR(X86_RBX, 4),
	GPR(X86_RSP, 4), GPR(X86_RBP, 4), GPR(X86_RSI, 4), GPR(X86_RDI, 4),
	{ AT(rip), 4, 4, PLAIN }, { AT(rflags), 4, 4, PLAIN }, SEGS, FPU,
	XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7), { AT(fpu.mxcsr), 4, 4, PLAIN },
	YMMH(0), YMMH(1), YMMH(2), YMMH(3), YMMH(4), YMMH(5), YMMH(6), YMMH(7),
	CONTROL(cr0, 4), CONTROL(cr2, 4), CONTROL(cr3, 4), CONTROL(cr4, 4),
};

#define R(n, b, t) "<reg name=\"" n "\" bitsize=\"" b "\" type=\"" t "\"/>"
#define I32(n) R(n, "32", "int32")
#define I64(n) R(n, "64", "int64")
#define HEAD(arch) "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\"><architecture>" arch "</architecture>"
#define FLAG(n, b) "<field name=\"" n "\" start=\"" b "\" end=\"" b "\"/>"
#define EFLAGS "<flags id=\"i386_eflags\" size=\"4\">" FLAG("CF", "0") FLAG("", "1") FLAG("PF", "2") FLAG("AF", "4") \
	FLAG("ZF", "6") FLAG("SF", "7") FLAG("TF", "8") FLAG("IF", "9") FLAG("DF", "10") FLAG("OF", "11") FLAG("NT", "14") \
	FLAG("RF", "16") FLAG("VM", "17") FLAG("AC", "18") FLAG("VIF", "19") FLAG("VIP", "20") FLAG("ID", "21") "</flags>"
#define X87(n) R(n, "80", "i387_ext")
#define XML_REST R("eflags", "32", "i386_eflags") I32("cs") I32("ss") I32("ds") I32("es") I32("fs") I32("gs") \
	X87("st0") X87("st1") X87("st2") X87("st3") X87("st4") X87("st5") X87("st6") X87("st7") \
	I32("fctrl") I32("fstat") I32("ftag") I32("fiseg") I32("fioff") I32("foseg") I32("fooff") I32("fop") "</feature>"
#define SSE "<feature name=\"org.gnu.gdb.i386.sse\"><vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>" \
	"<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/><vector id=\"v16i8\" type=\"int8\" count=\"16\"/>" \
	"<vector id=\"v8i16\" type=\"int16\" count=\"8\"/><vector id=\"v4i32\" type=\"int32\" count=\"4\"/>" \
	"<vector id=\"v2i64\" type=\"int64\" count=\"2\"/><union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>" \
	"<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>" \
	"<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>" \
	"<field name=\"uint128\" type=\"uint128\"/></union>"
#define X(n) R("xmm" n, "128", "vec128")
/* The upper halves; gdb joins them with the XMM registers. */
#define AVX "<feature name=\"org.gnu.gdb.i386.avx\">"
#define Y(n) R("ymm" n "h", "128", "uint128")
#define Y0_7 Y("0") Y("1") Y("2") Y("3") Y("4") Y("5") Y("6") Y("7")
#define X0_7 X("0") X("1") X("2") X("3") X("4") X("5") X("6") X("7")

static const char xml64[] = HEAD("i386:x86-64") "<feature name=\"org.gnu.gdb.i386.core\">" EFLAGS
	I64("rax") I64("rbx") I64("rcx") I64("rdx") I64("rsi") I64("rdi") R("rbp", "64", "data_ptr") R("rsp", "64", "data_ptr")
	I64("r8") I64("r9") I64("r10") I64("r11") I64("r12") I64("r13") I64("r14") I64("r15") R("rip", "64", "code_ptr") XML_REST
	SSE X0_7 X("8") X("9") X("10") X("11") X("12") X("13") X("14") X("15") I32("mxcsr") "</feature>"
	AVX Y0_7 Y("8") Y("9") Y("10") Y("11") Y("12") Y("13") Y("14") Y("15") "</feature>"
	"<feature name=\"org.gnu.gdb.i386.segments\">" I64("fs_base") I64("gs_base") "</feature>"
	"<feature name=\"org.cleave.system\">" I64("k_gs_base") I64("cr0") I64("cr2") I64("cr3") I64("cr4") I64("cr8") I64("efer")
	"</feature></target>";

static const char xml32[] = HEAD("i386") "<feature name=\"org.gnu.gdb.i386.core\">" EFLAGS
	I32("eax") I32("ecx") I32("edx") I32("ebx") R("esp", "32", "data_ptr") R("ebp", "32", "data_ptr") I32("esi") I32("edi")
	R("eip", "32", "code_ptr") XML_REST
	SSE X0_7 I32("mxcsr") "</feature>"
	AVX Y0_7 "</feature>"
	"<feature name=\"org.cleave.system\">" I32("cr0") I32("cr2") I32("cr3") I32("cr4") "</feature></target>";

const struct gdb_regs gdb_regs_64 = { xml64, regs64, sizeof(regs64) / sizeof(regs64[0]) };
const struct gdb_regs gdb_regs_32 = { xml32, regs32, sizeof(regs32) / sizeof(regs32[0]) };

const char *gdb_regs_xml(const struct gdb_regs *r)
{
	return r->xml;
}

unsigned gdb_regs_count(const struct gdb_regs *r)
{
	return r->count;
}

unsigned gdb_reg_size(const struct gdb_regs *r, unsigned n)
{
	return r->reg[n].size;
}

/* A bit for each register that is not empty, and two that are 11 where it is. */
static uint32_t full_tags(uint8_t ftw)
{
	uint32_t tags = 0;

	for (unsigned i = 0; i < 8; i++)
		if (!(ftw >> i & 1))
			tags |= 3u << 2 * i;
	return tags;
}

static uint8_t short_tags(uint32_t tags)
{
	uint8_t ftw = 0;

	for (unsigned i = 0; i < 8; i++)
		if ((tags >> 2 * i & 3) != 3)
			ftw |= 1u << i;
	return ftw;
}

void gdb_reg_read(const struct gdb_regs *regs, unsigned n, const struct x86_state *s, uint8_t *to)
{
	const struct reg *r = &regs->reg[n];
	const uint8_t *from = (const uint8_t *)s + r->offset;
	uint32_t tags = full_tags(s->fpu.ftw);

	memset(to, 0, r->size);
	switch (r->kind) {
	case TAGS:
		memcpy(to, &tags, sizeof(tags));
		break;
	case HIGH:
		memcpy(to, from + 4, 4);
		break;
	default:
		memcpy(to, from, r->held);
	}
}

/* A selector is loaded as real mode does it; elsewhere it stands for a descriptor, which nobody has read. */
static int write_selector(struct x86_state *s, struct x86_segment *seg, uint16_t selector)
{
	if (selector == seg->selector)
		return 0;
	if ((s->cr0 & X86_CR0_PE) && !(s->rflags & X86_RFLAGS_VM))
		return -EINVAL;
	seg->selector = selector;
	seg->base = (uint32_t)selector << 4;
	return 0;
}

int gdb_reg_write(const struct gdb_regs *regs, unsigned n, struct x86_state *s, const uint8_t *from)
{
	const struct reg *r = &regs->reg[n];
	uint8_t *to = (uint8_t *)s + r->offset;
	uint16_t selector;
	uint32_t tags;

	switch (r->kind) {
	case SELECTOR:
		memcpy(&selector, from, sizeof(selector));
		return write_selector(s, (struct x86_segment *)(to - offsetof(struct x86_segment, selector)), selector);
	case TAGS:
		memcpy(&tags, from, sizeof(tags));
		*to = short_tags(tags);
		return 0;
	case HIGH:
		memcpy(to + 4, from, 4);
		return 0;
	default:
		memcpy(to, from, r->held);
		return 0;
	}
}
