/*
 * tests/metal/run_metal.c - run guests and say which check of which failed.
 *
 *	run_metal [-v] [-k] [IMAGE...]
 *
 * -k: on KVM, and ends with 77 where there is none that works.
 * Without an image: all that are built, in tests/metal of the working directory.
 *
 * An image whose name ends in -triple.bin must end in a triple fault, one in
 * -halt.bin halted for good; any other must say that it is done.
 */
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "tests/metal/metal.h"

enum { SECONDS = 20 };

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), t = strlen(tail);

	return n >= t && !strcmp(s + n - t, tail);
}

static void put(char c)
{
	putchar(c);
}

static const char *exit_name(enum vcpu_exit e)
{
	static const char *const names[EXIT_COUNT] = {
		[EXIT_KICKED] = "kick", [EXIT_PENDING] = "pending access", [EXIT_HLT] = "halt",
		[EXIT_HLT_FOREVER] = "halt with interrupts off", [EXIT_MWAIT] = "mwait", [EXIT_TRIPLE_FAULT] = "triple fault", [EXIT_ERROR] = "engine error",
	};

	return e < EXIT_COUNT ? names[e] : "?";
}

static void where(struct metal *m)
{
	struct x86_state s;

	m->vcpu.engine->get_state(&m->vcpu, &s);
	printf(" at %04x:%08llx, cr0 %08llx cr2 %08llx esp %08llx eflags %08llx", s.seg[X86_CS].selector, (unsigned long long)s.rip,
	       (unsigned long long)s.cr0, (unsigned long long)s.cr2, (unsigned long long)s.gpr[X86_RSP],
	       (unsigned long long)s.rflags);
}

static bool report(struct metal *m, const char *path, enum metal_end end)
{
	enum vcpu_exit want = ends_with(path, "-triple.bin") ? EXIT_TRIPLE_FAULT : ends_with(path, "-halt.bin") ? EXIT_HLT_FOREVER
		: EXIT_COUNT;
	bool ok = want == EXIT_COUNT ? end == METAL_PASSED : end == METAL_EXITED && m->exit == want;

	printf("%s %s (%u checks)", ok ? "ok  " : "FAIL", path, m->checks);
	if (!ok) {
		printf(": \"%s\"", m->name);
		switch (end) {
		case METAL_PASSED: printf(" ended, but should not have"); break;
		case METAL_FAILED: printf(" line %u: got %08xh, want %08xh", m->line, m->got, m->want); break;
		case METAL_EXITED: printf(" ended by a %s", exit_name(m->exit)); where(m); printf(" %s", m->vcpu.error); break;
		case METAL_TIMEOUT: printf(" took longer than %d s", SECONDS); where(m); break;
		}
	}
	putchar('\n');
	return ok;
}

static bool run(const struct engine_ops *engine, const char *path, bool verbose)
{
	struct metal *m = metal_new_on(engine);
	bool ok = false;

	if (verbose)
		m->output = put;
	if (metal_load(m, path, METAL_LOAD)) {
		metal_enter(m, 0, METAL_LOAD);
		ok = report(m, path, metal_run(m, SECONDS));
	} else {
		printf("FAIL %s: cannot be read\n", path);
	}
	metal_free(m);
	return ok;
}

int main(int argc, char **argv)
{
	const struct engine_ops *engine = &soft_engine;
	unsigned failed = 0, images = 0;
	glob_t built = { 0 };
	bool verbose = false;

	(void)argc;
	setlinebuf(stdout);
	for (argv++; *argv && **argv == '-'; argv++)
		if (!strcmp(*argv, "-k"))
			engine = &kvm_engine;
		else
			verbose = true;
	if (!*argv && !glob("tests/metal/*.bin", 0, NULL, &built))
		argv = built.gl_pathv;
	for (; *argv; argv++, images++)
		failed += !run(engine, *argv, verbose);
	globfree(&built);
	printf("%u guests, %u failed\n", images, failed);
	return failed || !images;
}
