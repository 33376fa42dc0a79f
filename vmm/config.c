/*
 * vmm/config.c - the command line and configuration files.
 *
 * Owns the engine's keys (option_table) and the bhyve(8) spelling of options.
 * Knows no device: what devices and keys there are comes in as a devlist.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uuid.h>

#include "proto/names.h"
#include "ipc/sandbox.h"
#include "vmm/config.h"
#include "vmm/netback.h"
#include "vmm/relay.h"
#include "vmm/jit/jit.h"
#include "vmm/x86/cpuid.h"

/* Long options without a short one. */
enum { OPT_KERNEL = 256, OPT_INITRD, OPT_APPEND };

enum { PAIRS_MAX = 1024, LINE_MAX_BYTES = 4096, EXPAND_DEPTH = 8 };

static int fail(struct config *c, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fail(struct config *c, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->error, sizeof(c->error), fmt, ap);
	va_end(ap);
	return error;
}

/* ---- the engine's own keys */

enum value { VALUE_TEXT, VALUE_SIZE, VALUE_COUNT, VALUE_MS, VALUE_BOOL, VALUE_CHOICE };

enum { MS_MAX = 3600000 };

static const char *const end_names[ENDS] = {
	[END_EXIT] = "exit",
	[END_RESET] = "reset",
	[END_WAIT] = "wait",
};

static const char *const spin_names[SPINS] = {
	[SPIN_AUTO] = "auto",
	[SPIN_OFF] = "off",
};

static const char *const engine_names[ENGINES] = {
	[ENGINE_AUTO] = "auto",
	[ENGINE_SOFT] = "soft",
	[ENGINE_KVM] = "kvm",
};

static const char *const outage_names[OUTAGES] = {
	[OUTAGE_STALL] = "stall",
	[OUTAGE_ONES] = "ones",
	[OUTAGE_STOP] = "stop",
};

static const char *const irqchip_names[IRQCHIPS] = {
	[IRQCHIP_KERNEL] = "kernel",
	[IRQCHIP_ENGINE] = "engine",
};

struct option_row {
	const char *key;
	enum value type;
	size_t offset;
	const char *initial;
	const char *help;
	const char *const *names;	/* CHOICE: the first so many of them */
	unsigned choices;
};

#define AT(field) offsetof(struct config, field)

static const struct option_row option_table[] = {
	{ "name", VALUE_TEXT, AT(name), NULL, "name of the virtual machine", NULL, 0 },
	{ "memory.size", VALUE_SIZE, AT(memory), "256M", "guest memory: a number with K, M, G or T; whole megabytes", NULL, 0 },
	{ "cpus", VALUE_COUNT, AT(cpus), "1", "virtual processors", NULL, 0 },
	{ "cpu", VALUE_CHOICE, AT(cpu), "host", "instructions that CPUID tells of: those of an x86-64 level, or all that work on this host",
	  x86_level_names, X86_LEVELS },
	{ "engine", VALUE_CHOICE, AT(engine), "auto", "what executes the guest: kvm, soft (needs no privilege), or auto: kvm where a trial guest runs at speed",
	  engine_names, ENGINES },
	{ "jit", VALUE_BOOL, AT(jit), "true", "with engine=soft: hot code of 64-bit guests is translated to the host's", NULL, 0 },
	{ "jit.cache", VALUE_SIZE, AT(jit_cache), "256M", "memory for translated code: 1M to 1G", NULL, 0 },
	{ "jit.threshold", VALUE_COUNT, AT(jit_threshold), "24", "times that a block is interpreted before it is translated", NULL, 0 },
	{ "jit.dump", VALUE_TEXT, AT(jit_dump), NULL, "write guest and host code of each translation to this file; -: to standard output", NULL, 0 },
	{ "jit.dump.range", VALUE_TEXT, AT(jit_dump_text), NULL, "... of those that begin at FIRST-LAST, hexadecimal", NULL, 0 },
	{ "jit.perf", VALUE_BOOL, AT(jit_perf), "false", "write /tmp/perf-PID.map, from which perf names translated code by guest addresses", NULL, 0 },
	{ "jit.lockstep", VALUE_BOOL, AT(jit_lockstep), "false", "each translation runs beside the interpreter, and the first difference ends the machine", NULL, 0 },
	{ "kvm.irqchip", VALUE_CHOICE, AT(irqchip), "kernel", "with engine=kvm: interrupt controllers of the kernel, where it has them, or of cleave",
	  irqchip_names, IRQCHIPS },
	{ "x86.strictmsr", VALUE_BOOL, AT(strict_msr), "true", "an unknown model-specific register is a fault, else zero and ignored",
	  NULL, 0 },
	{ "bootrom", VALUE_TEXT, AT(bootrom), NULL, "firmware image", NULL, 0 },
	{ "kernel", VALUE_TEXT, AT(kernel), NULL, "kernel to start without firmware: Linux bzImage, ELF with a PVH entry, or multiboot 1", NULL, 0 },
	{ "initrd", VALUE_TEXT, AT(initrd), NULL, "its initramfs; for multiboot modules: FILE[ ARGUMENTS][,FILE...]", NULL, 0 },
	{ "append", VALUE_TEXT, AT(append), NULL, "its command line", NULL, 0 },
	{ "gdb", VALUE_TEXT, AT(gdb), NULL, "serve gdb: [w][ADDR:]PORT or [w]/PATH of a socket; w: the machine waits for it", NULL, 0 },
	{ "uuid", VALUE_TEXT, AT(uuid_text), NULL, "the machine's UUID; one is made from its name otherwise", NULL, 0 },
	{ "x86.apic", VALUE_BOOL, AT(apic), "true", "local APICs and an I/O APIC beside the 8259As", NULL, 0 },
	{ "rtc.use_localtime", VALUE_BOOL, AT(rtc_localtime), "true", "the real-time clock shows local time, else UTC", NULL, 0 },
	{ "triple_fault", VALUE_CHOICE, AT(triple_fault), "exit", "exit (with status 3) or reset", end_names, 2 },
	{ "halt", VALUE_CHOICE, AT(halt), "exit", "HLT with interrupts off: exit (with status 2), reset or wait (for an NMI)",
	  end_names, 3 },
	{ "escape", VALUE_TEXT, AT(escape_text), "^]", "escape key of the stdio terminal: ^X, a character, or none", NULL, 0 },
	{ "devmodel.path", VALUE_TEXT, AT(daemon_path), NULL, "the device-model daemon to run", NULL, 0 },
	{ "devmodel.outage", VALUE_CHOICE, AT(outage), "stall",
	  "the device model dies: the guest waits for its successor (stall), its devices read all ones (ones), or the machine ends (stop)",
	  outage_names, OUTAGES },
	{ "devmodel.grace", VALUE_MS, AT(grace), "1000", "milliseconds without a device model before outage=ones takes effect", NULL, 0 },
	{ "devmodel.deadline", VALUE_COUNT, AT(deadline), "10", "seconds after which a device model that does not answer is replaced; 0: never", NULL, 0 },
	{ "devmodel.spare", VALUE_BOOL, AT(spare), "false", "another device model stands by, and takes over at once when one dies", NULL, 0 },
	{ "sandbox", VALUE_CHOICE, AT(sandbox), "on", "what each process gives up: on (as far as this system permits), strict (all of it, or no start) or off",
	  sandbox_modes, SANDBOX_MODES },
	{ "link.spin", VALUE_CHOICE, AT(spin), "auto", "a vCPU that waits for the device model: auto (spins for as long as has paid so far) or off (sleeps)",
	  spin_names, SPINS },
	{ "stats", VALUE_BOOL, AT(stats), "false", "print a summary of I/O on standard error at the end", NULL, 0 },
	{ "stats.file", VALUE_TEXT, AT(stats_file), NULL, "write that summary to this file", NULL, 0 },
	{ "config.dump", VALUE_BOOL, AT(dump), "false", "print the configuration and leave", NULL, 0 },
};

enum { OPTIONS = sizeof(option_table) / sizeof(option_table[0]) };

static const struct option_row *option_find(const char *key)
{
	for (unsigned i = 0; i < OPTIONS; i++)
		if (!strcmp(option_table[i].key, key))
			return &option_table[i];
	return NULL;
}

static bool device_key(const char *key)
{
	return !strncmp(key, "pci.", 4) || !strncmp(key, "lpc.", 4);
}

/* ---- the list of pairs */

struct config *config_new(void)
{
	return calloc(1, sizeof(struct config));
}

static void free_devices(struct config *c)
{
	for (unsigned i = 0; i < c->ndevices; i++) {
		for (unsigned k = 0; k < c->device[i].nkeys; k++) {
			free(c->device[i].key[k].name);
			free(c->device[i].key[k].value);
		}
		free(c->device[i].key);
	}
	free(c->device);
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->npairs; i++) {
		free(c->pair[i].key);
		free(c->pair[i].value);
	}
	free(c->pair);
	for (unsigned i = 0; i < OPTIONS; i++)
		if (option_table[i].type == VALUE_TEXT)
			free(*(char **)((char *)c + option_table[i].offset));
	free_devices(c);
	free(c);
}

static int add_pair(struct config *c, const char *key, const char *value)
{
	struct config_pair *p;

	if (c->npairs >= PAIRS_MAX)
		return fail(c, -E2BIG, "more than %d settings", PAIRS_MAX);
	p = realloc(c->pair, (c->npairs + 1) * sizeof(*p));
	if (!p)
		return fail(c, -ENOMEM, "out of memory");
	c->pair = p;
	p += c->npairs;
	p->key = strdup(key);
	p->value = value ? strdup(value) : NULL;
	c->npairs++;
	if (!p->key || (value && !p->value))
		return fail(c, -ENOMEM, "out of memory");
	return 0;
}

const char *config_get(const struct config *c, const char *key)
{
	for (unsigned i = c->npairs; i-- > 0;)
		if (!strcmp(c->pair[i].key, key))
			return c->pair[i].value ? c->pair[i].value : "";
	return NULL;
}

static int unknown_option(struct config *c, const char *key)
{
	struct names_hint h;
	char hint[500];

	names_begin(&h, key);
	for (unsigned i = 0; i < OPTIONS; i++)
		names_offer(&h, option_table[i].key);
	names_offer(&h, "pci.BUS.SLOT.FUNC.KEY");
	names_offer(&h, "lpc.DEVICE.KEY");
	return fail(c, -EINVAL, "unknown key %.80s%s", key, names_hint(&h, hint, sizeof(hint)));
}

int config_set(struct config *c, const char *key, const char *value)
{
	if (device_key(key))
		return add_pair(c, key, value);
	if (!option_find(key))
		return unknown_option(c, key);
	for (unsigned i = 0; i < c->npairs; i++) {
		if (strcmp(c->pair[i].key, key))
			continue;
		free(c->pair[i].value);
		c->pair[i].value = strdup(value ? value : "");
		return c->pair[i].value ? 0 : fail(c, -ENOMEM, "out of memory");
	}
	return add_pair(c, key, value);
}

/* "key=value" or "key", which means true. */
static int set_text(struct config *c, char *text)
{
	char *value = strchr(text, '=');

	if (value)
		*value++ = 0;
	return config_set(c, text, value ? value : device_key(text) ? NULL : "true");
}

static char *trim(char *s)
{
	char *end = s + strlen(s);

	while (end > s && isspace((unsigned char)end[-1]))
		*--end = 0;
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

int config_file(struct config *c, const char *path)
{
	char line[LINE_MAX_BYTES];
	FILE *f = fopen(path, "re");
	int ret = 0;

	if (!f)
		return fail(c, -errno, "cannot read the configuration file %s: %s", path, strerror(errno));
	for (unsigned n = 1; !ret && fgets(line, sizeof(line), f); n++) {
		char *text, cause[sizeof(c->error)];

		if (!strchr(line, '\n') && !feof(f)) {
			ret = fail(c, -EINVAL, "%s:%u: line longer than %d bytes", path, n, LINE_MAX_BYTES - 2);
			break;
		}
		text = trim(line);
		if (!*text || *text == '#')
			continue;
		if (!strchr(text, '=')) {
			ret = fail(c, -EINVAL, "%s:%u: not key=value: %.60s", path, n, text);
			break;
		}
		ret = set_text(c, text);
		if (ret) {
			snprintf(cause, sizeof(cause), "%s", c->error);
			fail(c, ret, "%.200s:%u: %.380s", path, n, cause);
		}
	}
	if (!ret && ferror(f))
		ret = fail(c, -EIO, "cannot read the configuration file %s: %s", path, strerror(errno));
	fclose(f);
	return ret;
}

/* ---- the short options */

int config_size(const char *text, uint64_t unit, uint64_t *bytes)
{
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	switch (toupper((unsigned char)*end)) {
	case 0: break;
	case 'K': unit = 1ull << 10; end++; break;
	case 'M': unit = 1ull << 20; end++; break;
	case 'G': unit = 1ull << 30; end++; break;
	case 'T': unit = 1ull << 40; end++; break;
	}
	if (toupper((unsigned char)*end) == 'B' && unit > 1)
		end++;
	if (*end)
		return -EINVAL;
	return __builtin_mul_overflow(n, unit, bytes) ? -ERANGE : 0;
}

static bool number(const char *text, unsigned max, unsigned *n)
{
	unsigned long v;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || *end || v > max)
		return false;
	*n = v;
	return true;
}

/* Each comma-separated item of a device's configuration under one prefix. */
static int set_items(struct config *c, const char *prefix, char *items)
{
	char key[LINE_MAX_BYTES], *save = NULL;
	int ret = 0;

	for (char *item = items ? strtok_r(items, ",", &save) : NULL; item && !ret; item = strtok_r(NULL, ",", &save)) {
		char *value = strchr(item, '=');

		if (value)
			*value++ = 0;
		if (snprintf(key, sizeof(key), "%s.%s", prefix, item) >= (int)sizeof(key))
			return fail(c, -EINVAL, "too long: %.60s...", item);
		ret = add_pair(c, key, value);
	}
	return ret;
}

static bool parse_slot(char *text, unsigned *bus, unsigned *slot, unsigned *func)
{
	char *b = strchr(text, ':'), *f = b ? strchr(b + 1, ':') : NULL;

	*bus = *func = 0;
	if (b)
		*b++ = 0;
	if (f)
		*f++ = 0;
	if (f)
		return number(text, 255, bus) && number(b, 31, slot) && number(f, 7, func);
	return number(text, 31, slot) && (!b || number(b, 7, func));
}

static int slot_option(struct config *c, char *text)
{
	char prefix[64], key[80], *dev = strchr(text, ','), *items, where[40];
	unsigned bus, slot, func;
	int ret;

	if (!strcmp(text, "help")) {
		c->action = CONFIG_LIST;
		c->subject_pci = true;
		return 0;
	}
	snprintf(where, sizeof(where), "%.39s", text);
	if (dev && !strcmp(dev, ",help")) {
		*dev = 0;
		c->action = CONFIG_KEYS;
		c->subject = text;
		return 0;
	}
	if (!dev)
		return fail(c, -EINVAL, "-s %s: a slot wants a device: -s SLOT[:FUNC],DEVICE[,KEY=VALUE...] (-s help lists devices)", where);
	*dev++ = 0;
	where[strcspn(where, ",")] = 0;
	if (!parse_slot(text, &bus, &slot, &func))
		return fail(c, -EINVAL, "-s %s: not a PCI slot: SLOT, SLOT:FUNC or BUS:SLOT:FUNC, slots are 0 to 31, functions 0 to 7", where);
	if (bus)
		return fail(c, -EINVAL, "-s %s: there is only bus 0", where);
	items = strchr(dev, ',');
	if (items)
		*items++ = 0;
	if (items && !strcmp(items, "help")) {
		c->action = CONFIG_KEYS;
		c->subject = dev;
		return 0;
	}
	snprintf(prefix, sizeof(prefix), "pci.%u.%u.%u", bus, slot, func);
	snprintf(key, sizeof(key), "%s.device", prefix);
	if (config_get(c, key))
		return fail(c, -EEXIST, "-s %s: slot %u:%u is taken by %.40s already", where, slot, func, config_get(c, key));
	ret = add_pair(c, key, dev);
	return ret ? ret : set_items(c, prefix, items);
}

/* CODE[,VARS[,ro]]: the image, and the file of its variables. */
static int bootrom_option(struct config *c, char *items)
{
	char *vars = items ? strchr(items, ',') : NULL, *ro;
	int ret;

	if (vars)
		*vars++ = 0;
	ro = vars ? strchr(vars, ',') : NULL;
	if (ro)
		*ro++ = 0;
	if (!items || !*items || (vars && !*vars) || (ro && strcmp(ro, "ro")))
		return fail(c, -EINVAL, "-l bootrom wants a firmware image: -l bootrom,PATH[,VARS[,ro]], VARS the file of its variables");
	ret = config_set(c, "bootrom", items);
	if (!ret && vars)
		ret = add_pair(c, "lpc.flash.vars", vars);
	if (!ret && ro)
		ret = add_pair(c, "lpc.flash.ro", NULL);
	return ret;
}

static int lpc_option(struct config *c, char *text)
{
	char prefix[64], *items = strchr(text, ',');
	int ret;

	if (!strcmp(text, "help")) {
		c->action = CONFIG_LIST;
		return 0;
	}
	if (items)
		*items++ = 0;
	if (items && !strcmp(items, "help")) {
		c->action = CONFIG_KEYS;
		c->subject = text;
		return 0;
	}
	if (!*text || strlen(text) > 40 || strchr(text, '.'))
		return fail(c, -EINVAL, "-l %.40s: not a device's name (-l help lists devices)", text);
	if (!strcmp(text, "bootrom"))
		return bootrom_option(c, items);
	snprintf(prefix, sizeof(prefix), "lpc.%s", text);
	if (config_get(c, prefix))
		return fail(c, -EEXIST, "-l %s is given twice", text);
	ret = add_pair(c, prefix, NULL);
	return ret ? ret : set_items(c, prefix, items);
}

/* [cpus=]N[,sockets=N][,cores=N][,threads=N]: the product must be N. */
static int cpus_option(struct config *c, char *text)
{
	static const char *const part[] = { "sockets", "cores", "threads" };
	unsigned cpus = 0, product = 1, n;
	bool given = false;
	char *save = NULL, buf[16];

	for (char *item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		char *value = strchr(item, '=');
		unsigned i;

		if (!value || !strncmp(item, "cpus=", 5)) {
			if (!number(value ? value + 1 : item, 1024, &cpus) || !cpus)
				return fail(c, -EINVAL, "-c %.40s: not a number of processors", item);
			continue;
		}
		*value++ = 0;
		for (i = 0; i < 3 && strcmp(item, part[i]); i++)
			;
		if (i == 3 || !number(value, 1024, &n) || !n)
			return fail(c, -EINVAL, "-c %.40s: want [cpus=]N[,sockets=N][,cores=N][,threads=N]", item);
		product *= n;
		given = true;
		if (product > 1024)
			return fail(c, -EINVAL, "-c: more than 1024 processors");
	}
	if (given && !cpus)
		cpus = product;
	if (!cpus || (given && cpus != product))
		return fail(c, -EINVAL, "-c: %u processors, but sockets, cores and threads make %u", cpus, product);
	snprintf(buf, sizeof(buf), "%u", cpus);
	return config_set(c, "cpus", buf);
}

/* -f NAME,string=TEXT or NAME,file=PATH: an item for the guest in fw_cfg's directory. */
static int fwcfg_option(struct config *c, char *text)
{
	char key[40], *value = strchr(text, ',');
	bool file = value && !strncmp(value, ",file=", 6), string = value && !strncmp(value, ",string=", 8);
	int ret;

	if (!file && !string)
		return fail(c, -EINVAL, "-f %.60s: want -f NAME,string=TEXT or -f NAME,file=PATH", text);
	*value = 0;
	value += file ? 6 : 8;
	snprintf(key, sizeof(key), "lpc.fwcfg.file%u%s", c->nfiles, file ? "" : ".string");
	ret = add_pair(c, key, value);
	snprintf(key, sizeof(key), "lpc.fwcfg.file%u.name", c->nfiles++);
	return ret ? ret : add_pair(c, key, text);
}

/* -B TYPE,KEY=VALUE[,...]: SMBIOS strings by their structure, in bhyve's words. */
static const struct smbios_word { uint8_t type; const char *word, *key; } smbios_words[] = {
	{ 0, "vendor", "lpc.fwcfg.bios.vendor" },
	{ 0, "version", "lpc.fwcfg.bios.version" },
	{ 0, "date", "lpc.fwcfg.bios.release_date" },
	{ 1, "manufacturer", "lpc.fwcfg.system.manufacturer" },
	{ 1, "product", "lpc.fwcfg.system.product_name" },
	{ 1, "version", "lpc.fwcfg.system.version" },
	{ 1, "serial", "lpc.fwcfg.system.serial_number" },
	{ 1, "sku", "lpc.fwcfg.system.sku" },
	{ 1, "family", "lpc.fwcfg.system.family_name" },
	{ 1, "uuid", "uuid" },
	{ 2, "manufacturer", "lpc.fwcfg.board.manufacturer" },
	{ 2, "product", "lpc.fwcfg.board.product_name" },
	{ 2, "version", "lpc.fwcfg.board.version" },
	{ 2, "serial", "lpc.fwcfg.board.serial_number" },
	{ 2, "asset", "lpc.fwcfg.board.asset_tag" },
	{ 2, "location", "lpc.fwcfg.board.location" },
	{ 3, "manufacturer", "lpc.fwcfg.chassis.manufacturer" },
	{ 3, "version", "lpc.fwcfg.chassis.version" },
	{ 3, "serial", "lpc.fwcfg.chassis.serial_number" },
	{ 3, "asset", "lpc.fwcfg.chassis.asset_tag" },
	{ 3, "sku", "lpc.fwcfg.chassis.sku" },
};

enum { SMBIOS_WORDS = sizeof(smbios_words) / sizeof(smbios_words[0]) };

static const char *smbios_key(unsigned type, const char *word)
{
	for (unsigned i = 0; i < SMBIOS_WORDS; i++)
		if (smbios_words[i].type == type && !strcmp(smbios_words[i].word, word))
			return smbios_words[i].key;
	return NULL;
}

static int smbios_refused(struct config *c, unsigned type, const char *word)
{
	char known[200] = "";
	size_t n = 0;

	for (unsigned i = 0; i < SMBIOS_WORDS; i++)
		if (smbios_words[i].type == type)
			n += snprintf(known + n, sizeof(known) - n, " %s", smbios_words[i].word);
	return fail(c, -EINVAL, "-B %u,%.40s=: type %u has%s", type, word, type, known);
}

static int smbios_option(struct config *c, char *text)
{
	char *save = NULL, *item = strtok_r(text, ",", &save);
	unsigned type;
	int ret = 0;

	if (!item || !*save || !number(item, 3, &type))
		return fail(c, -EINVAL, "-B %.60s: want -B TYPE,KEY=VALUE with type 0 BIOS, 1 system, 2 board or 3 chassis", text);
	while (!ret && (item = strtok_r(NULL, ",", &save))) {
		char *value = strchr(item, '=');
		const char *key;

		if (!value)
			return fail(c, -EINVAL, "-B %u,%.40s: want KEY=VALUE", type, item);
		*value++ = 0;
		key = smbios_key(type, item);
		ret = key ? config_set(c, key, value) : smbios_refused(c, type, item);
	}
	return ret;
}

static int o_option(struct config *c, char *text)
{
	if (!strcmp(text, "help")) {
		c->action = CONFIG_OPTIONS;
		return 0;
	}
	return set_text(c, text);
}

static const struct option long_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "append", required_argument, NULL, OPT_APPEND },
	{ 0 },
};

static int no_argument_given(struct config *c, int opt)
{
	for (const struct option *o = long_options; o->name; o++)
		if (o->val == opt)
			return fail(c, -EINVAL, "--%s wants an argument (cleave -h)", o->name);
	return fail(c, -EINVAL, "-%c wants an argument (cleave -h)", opt);
}

static int short_option(struct config *c, int opt, char *arg)
{
	switch (opt) {
	case 'B': return smbios_option(c, arg);
	case 'c': return cpus_option(c, arg);
	case 'm': return config_set(c, "memory.size", arg);
	case 's': return slot_option(c, arg);
	case 'l': return lpc_option(c, arg);
	case 'o': return o_option(c, arg);
	case 'f': return fwcfg_option(c, arg);
	case 'G': return config_set(c, "gdb", arg);
	case 'k': return config_file(c, arg);
	case 'U': return config_set(c, "uuid", arg);
	case 'w': return config_set(c, "x86.strictmsr", "false");
	case 'u': return config_set(c, "rtc.use_localtime", "false");
	case 'h': c->action = CONFIG_USAGE; return 0;
	case 'V': c->action = CONFIG_VERSION; return 0;
	case OPT_KERNEL: return config_set(c, "kernel", arg);
	case OPT_INITRD: return config_set(c, "initrd", arg);
	case OPT_APPEND: return config_set(c, "append", arg);
	case ':': return no_argument_given(c, optopt);
	default:
		if (optopt)
			return fail(c, -EINVAL, "unknown option -%c (cleave -h)", optopt);
		return fail(c, -EINVAL, "unknown option (cleave -h)");
	}
}

int config_args(struct config *c, int argc, char **argv)
{
	int opt, ret = 0;

	optind = 0;		/* glibc: start again, so that tests can */
	opterr = 0;
	while (!ret && c->action == CONFIG_RUN && (opt = getopt_long(argc, argv, ":B:c:f:G:m:s:l:o:k:U:uwhV", long_options, NULL)) != -1)
		ret = short_option(c, opt, optarg);
	if (ret || c->action != CONFIG_RUN)
		return ret;
	if (optind < argc)
		ret = config_set(c, "name", argv[optind++]);
	if (!ret && optind < argc)
		return fail(c, -EINVAL, "too many arguments: the name of the machine is %s, what is %.60s?", argv[optind - 1], argv[optind]);
	return ret;
}

/* ---- from pairs to a machine */

/* Replaces %(key) by that key's value and %% by %. */
static int expand(struct config *c, const char *text, char *to, size_t size, unsigned depth)
{
	size_t n = 0;

	if (depth > EXPAND_DEPTH)
		return fail(c, -ELOOP, "%%() refers to itself: %.60s", text);
	while (*text) {
		const char *end;
		char key[128];

		if (n + 1 >= size)
			return fail(c, -ENAMETOOLONG, "value too long");
		if (text[0] == '%' && text[1] == '%') {
			to[n++] = '%';
			text += 2;
		} else if (text[0] == '%' && text[1] == '(' && (end = strchr(text, ')')) && end - text - 2 < (int)sizeof(key)) {
			const char *value;
			int ret;

			snprintf(key, sizeof(key), "%.*s", (int)(end - text - 2), text + 2);
			value = config_get(c, key);
			if (!value)
				return fail(c, -ENOENT, "%%(%s): no such key is set", key);
			ret = expand(c, value, to + n, size - n, depth + 1);
			if (ret)
				return ret;
			n += strlen(to + n);
			text = end + 1;
		} else {
			to[n++] = *text++;
		}
	}
	to[n] = 0;
	return 0;
}

static int expand_all(struct config *c)
{
	char buf[LINE_MAX_BYTES];

	for (unsigned i = 0; i < c->npairs; i++) {
		int ret;

		if (!c->pair[i].value || !strchr(c->pair[i].value, '%'))
			continue;
		ret = expand(c, c->pair[i].value, buf, sizeof(buf), 0);
		if (ret)
			return ret;
		free(c->pair[i].value);
		c->pair[i].value = strdup(buf);
		if (!c->pair[i].value)
			return fail(c, -ENOMEM, "out of memory");
	}
	return 0;
}

static bool truth(const char *text, bool *to)
{
	static const char *const yes[] = { "true", "on", "yes", "1" }, *const no[] = { "false", "off", "no", "0" };

	for (unsigned i = 0; i < 4; i++) {
		if (!strcasecmp(text, yes[i]) || !strcasecmp(text, no[i])) {
			*to = !strcasecmp(text, yes[i]);
			return true;
		}
	}
	return false;
}

static int resolve_choice(struct config *c, const struct option_row *o, const char *text, unsigned *to)
{
	struct names_hint h;
	char hint[500];

	names_begin(&h, text);
	for (unsigned i = 0; i < o->choices; i++) {
		names_offer(&h, o->names[i]);
		if (!strcmp(text, o->names[i])) {
			*to = i;
			return 0;
		}
	}
	return fail(c, -EINVAL, "%s=%.40s%s", o->key, text, names_hint(&h, hint, sizeof(hint)));
}

static int resolve_option(struct config *c, const struct option_row *o)
{
	void *to = (char *)c + o->offset;
	const char *text = config_get(c, o->key);
	int ret;

	if (!text)
		text = o->initial;
	if (!text)
		return 0;
	switch (o->type) {
	case VALUE_TEXT:
		free(*(char **)to);
		*(char **)to = strdup(text);
		return *(char **)to ? 0 : fail(c, -ENOMEM, "out of memory");
	case VALUE_SIZE:
		ret = config_size(text, 1 << 20, to);
		if (ret)
			return fail(c, ret, "%s=%.40s: %s", o->key, text, ret == -ERANGE ? "beyond 64 bits" : "want a number with K, M, G or T");
		return 0;
	case VALUE_COUNT:
		return number(text, 1024, to) ? 0 : fail(c, -EINVAL, "%s=%.40s: want a number up to 1024", o->key, text);
	case VALUE_MS:
		return number(text, MS_MAX, to) ? 0 : fail(c, -EINVAL, "%s=%.40s: want milliseconds, at most %d", o->key, text, MS_MAX);
	case VALUE_BOOL:
		return truth(text, to) ? 0 : fail(c, -EINVAL, "%s=%.40s: want true or false", o->key, text);
	case VALUE_CHOICE:
		return resolve_choice(c, o, text, to);
	}
	return -EINVAL;
}

static bool name_ok(const char *name)
{
	return *name && strlen(name) < 64 && *name != '.' && *name != '-' &&
	       !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")];
}

/* A machine of the same name on the same host keeps its UUID. */
static void make_uuid(struct config *c)
{
	char host[HOST_NAME_MAX + 1] = "", text[sizeof(host) + 80];

	gethostname(host, sizeof(host) - 1);
	snprintf(text, sizeof(text), "cleave:%s:%s", host, c->name);
	uuid_generate_sha1(c->uuid, *uuid_get_template("oid"), text, strlen(text));
}

static int resolve_escape(struct config *c)
{
	const char *e = c->escape_text;

	if (!strcmp(e, "none"))
		c->escape = CONFIG_NO_ESCAPE;
	else if (e[0] == '^' && e[1] && !e[2] && (toupper((unsigned char)e[1]) & 0xe0) == 0x40)
		c->escape = toupper((unsigned char)e[1]) & 0x1f;
	else if (e[0] && !e[1])
		c->escape = (unsigned char)e[0];
	else
		return fail(c, -EINVAL, "escape=%.20s: want ^X, one character, or none", e);
	return 0;
}

/* One address is the first and the last. */
static int resolve_dump_range(struct config *c)
{
	const char *text = c->jit_dump_text;
	char *end;

	c->jit_dump_range[1] = UINT64_MAX;
	if (!text)
		return 0;
	errno = 0;
	c->jit_dump_range[0] = c->jit_dump_range[1] = strtoull(text, &end, 16);
	if (isxdigit((unsigned char)*text) && *end == '-' && isxdigit((unsigned char)end[1]))
		c->jit_dump_range[1] = strtoull(end + 1, &end, 16);
	if (errno || !isxdigit((unsigned char)*text) || *end || c->jit_dump_range[0] > c->jit_dump_range[1])
		return fail(c, -EINVAL, "jit.dump.range=%.60s: want FIRST-LAST, hexadecimal", text);
	return 0;
}

static int check_direct_boot(struct config *c)
{
	if (c->kernel && c->bootrom)
		return fail(c, -EINVAL, "--kernel and -l bootrom: a machine starts with one of them, a kernel or firmware");
	if (!c->kernel && (c->initrd || c->append))
		return fail(c, -EINVAL, "--%s belongs to a kernel: --kernel PATH", c->initrd ? "initrd" : "append");
	return 0;
}

static int resolve_options(struct config *c)
{
	int ret;

	for (unsigned i = 0; i < OPTIONS; i++) {
		ret = resolve_option(c, &option_table[i]);
		if (ret)
			return ret;
	}
	if (!c->name)
		return fail(c, -EINVAL, "which machine? The last argument is its name (cleave -h)");
	if (!name_ok(c->name))
		return fail(c, -EINVAL, "%.80s is no name for a machine: want letters, digits, '.', '_' and '-', at most 63", c->name);
	if (!c->memory || c->memory & 0xfffff)
		return fail(c, -EINVAL, "memory.size: want whole megabytes, at least one");
	if (c->jit_cache < JIT_CACHE_MIN || c->jit_cache > JIT_CACHE_MAX)
		return fail(c, -EINVAL, "jit.cache=%s: want 1M to 1G", config_get(c, "jit.cache"));
	if (c->cpus != 1)
		return fail(c, -ENOTSUP, "%u processors: this version runs one (-c 1)", c->cpus);
	if (!c->uuid_text)
		make_uuid(c);
	else if (uuid_parse(c->uuid_text, c->uuid))
		return fail(c, -EINVAL, "%.60s is no UUID: want 8-4-4-4-12 hexadecimal digits", c->uuid_text);
	ret = check_direct_boot(c);
	if (!ret)
		ret = resolve_dump_range(c);
	return ret ? ret : resolve_escape(c);
}

/* ---- devices */

/* "1:3 ide" or "com1", for messages. */
static const char *device_title(const struct config_device *d, char *to, size_t n)
{
	if (d->type->pci)
		snprintf(to, n, "-s %u:%u,%s", d->slot, d->func, d->type->name);
	else
		snprintf(to, n, "-l %s", d->type->name);
	return to;
}

const char *config_device_name(const struct config_device *d, char *to, size_t n)
{
	if (d->type->pci)
		snprintf(to, n, "%s@%u:%u", d->type->name, d->slot, d->func);
	else
		snprintf(to, n, "%s", d->type->name);
	return to;
}

static struct config_device *find_device(struct config *c, const struct devlist_device *type)
{
	for (unsigned i = 0; i < c->ndevices; i++)
		if (c->device[i].type == type)
			return &c->device[i];
	return NULL;
}

static struct config_device *find_slot(struct config *c, unsigned bus, unsigned slot, unsigned func)
{
	for (unsigned i = 0; i < c->ndevices; i++) {
		struct config_device *d = &c->device[i];

		if (d->type->pci && d->bus == bus && d->slot == slot && d->func == func)
			return d;
	}
	return NULL;
}

static struct config_device *add_device(struct config *c, const struct devlist_device *type, unsigned bus, unsigned slot, unsigned func)
{
	struct config_device *d = realloc(c->device, (c->ndevices + 1) * sizeof(*d));

	if (!d) {
		fail(c, -ENOMEM, "out of memory");
		return NULL;
	}
	c->device = d;
	d += c->ndevices++;
	*d = (struct config_device){ .type = type, .bus = bus, .slot = slot, .func = func, .outage = OUTAGES };
	return d;
}

static struct config_key *find_key(struct config_device *d, const char *name)
{
	for (unsigned k = 0; k < d->nkeys; k++)
		if (!strcmp(d->key[k].name, name))
			return &d->key[k];
	return NULL;
}

static int check_chr(struct config *c, const struct config_device *d, const struct config_key *k)
{
	char why[200], title[80];
	int ret = relay_check(k->value, why, sizeof(why));

	if (ret)
		return fail(c, ret, "%s: %s=%.80s: %s", device_title(d, title, sizeof(title)), k->name, k->value, why);
	return 0;
}

static int check_net(struct config *c, const struct config_device *d, const struct config_key *k)
{
	char why[500] = "out of memory", title[80];
	int ret = netback_check(k->value, why, sizeof(why));

	if (ret)
		return fail(c, ret, "%s: %s", device_title(d, title, sizeof(title)), why);
	return 0;
}

static int add_key(struct config *c, struct config_device *d, const struct devlist_key *type, const char *value)
{
	struct config_key *k;
	char title[80];

	if (find_key(d, type->name))
		return fail(c, -EEXIST, "%s: %s is given twice", device_title(d, title, sizeof(title)), type->name);
	k = realloc(d->key, (d->nkeys + 1) * sizeof(*k));
	if (!k)
		return fail(c, -ENOMEM, "out of memory");
	d->key = k;
	k += d->nkeys++;
	*k = (struct config_key){ .name = strdup(type->name), .value = strdup(value), .type = type->type, .stream = -1 };
	if (!k->name || !k->value)
		return fail(c, -ENOMEM, "out of memory");
	if (k->type == KEY_ROM)
		k->ro = true;
	if (k->type == KEY_PATH && !*value)	/* a CD drive may be empty */
		return fail(c, -EINVAL, "%s: %s wants a file", device_title(d, title, sizeof(title)), k->name);
	return k->type == KEY_CHR ? check_chr(c, d, k) : k->type == KEY_NET ? check_net(c, d, k) : 0;
}

/*
 * `ro`, `direct` and `nocache` of an image are the engine's: it opens the file.
 * `image`: NULL when none came before.  1: not one of them.
 */
static int image_option(struct config *c, struct config_device *d, struct config_key *image, const char *option, const char *value)
{
	struct config_key none, *of = image ? image : &none;
	bool *flag = !strcmp(option, "ro") ? &of->ro : !strcmp(option, "direct") ? &of->direct :
		     !strcmp(option, "nocache") ? &of->nocache : NULL;
	char title[80];

	if (!flag)
		return 1;
	if (!image)
		return fail(c, -EINVAL, "%s: %s comes after the image that it is for", device_title(d, title, sizeof(title)), option);
	if (!truth(value ? value : "true", flag))
		return fail(c, -EINVAL, "%s: %s.%s=%.20s: want true or false", device_title(d, title, sizeof(title)), image->name, option, value);
	if (image->type == KEY_ROM && !image->ro)
		return fail(c, -EINVAL, "%s: %s is always read-only", device_title(d, title, sizeof(title)), image->name);
	return 0;
}

static struct config_key *find_net(struct config_device *d)
{
	for (unsigned k = 0; k < d->nkeys; k++)
		if (d->key[k].type == KEY_NET)
			return &d->key[k];
	return NULL;
}

/*
 * Options of a network are part of its specification, so that one of them may
 * stand more than once.  `tap,NAME` is an interface.  1: not one of them.
 */
static int net_option(struct config *c, struct config_device *d, const char *option, const char *value)
{
	struct config_key *net = find_net(d);
	const char *const *known = net ? netback_options(net->value) : NULL;
	char *longer;

	if (known && !value && !strcmp(net->value, "tap") && strcmp(option, "ifname")) {
		value = option;
		option = "ifname";
	}
	while (known && *known && strcmp(*known, option))
		known++;
	if (!known || !*known)
		return 1;
	if (asprintf(&longer, "%s,%s%s%s", net->value, option, value ? "=" : "", value ? value : "") < 0)
		return fail(c, -ENOMEM, "out of memory");
	free(net->value);
	net->value = longer;
	return 0;
}

/* When all options are there: they depend on each other in any order. */
static int check_nets(struct config *c)
{
	int ret = 0;

	for (unsigned i = 0; i < c->ndevices && !ret; i++) {
		struct config_key *net = find_net(&c->device[i]);

		ret = net ? check_net(c, &c->device[i], net) : 0;
	}
	return ret;
}

/* `outage` is the engine's: every device has it.  1: not it. */
static int outage_option(struct config *c, struct config_device *d, const char *option, const char *value)
{
	struct names_hint h;
	char hint[200], title[80];

	if (strcmp(option, "outage"))
		return 1;
	if (d->outage != OUTAGES)
		return fail(c, -EEXIST, "%s: outage is given twice, and is the whole device's", device_title(d, title, sizeof(title)));
	names_begin(&h, value ? value : "");
	for (unsigned i = 0; i < OUTAGES; i++) {
		names_offer(&h, outage_names[i]);
		if (value && !strcmp(value, outage_names[i]))
			d->outage = i;
	}
	if (d->outage != OUTAGES)
		return 0;
	return fail(c, -EINVAL, "%s: outage=%.40s%s", device_title(d, title, sizeof(title)), value ? value : "", names_hint(&h, hint, sizeof(hint)));
}

static struct config_key *last_image(struct config_device *d)
{
	for (unsigned k = d->nkeys; k-- > 0;)
		if (d->key[k].type == KEY_PATH || d->key[k].type == KEY_ROM)
			return &d->key[k];
	return NULL;
}

static int unknown_key(struct config *c, struct config_device *d, const char *name)
{
	struct config_key *image = last_image(d), *net = find_net(d);
	struct names_hint h;
	char hint[500], title[80];

	names_begin(&h, name);
	for (unsigned k = 0; k < d->type->nkeys; k++) {
		const char *key = d->type->key[k].name;
		size_t n = image ? strlen(image->name) : 0;

		names_offer(&h, image && !strncmp(key, image->name, n) && key[n] == '.' ? key + n + 1 : key);
	}
	for (const char *const *o = net ? netback_options(net->value) : NULL; o && *o; o++)
		names_offer(&h, *o);
	names_offer(&h, "outage");
	if (image) {
		names_offer(&h, "ro");
		names_offer(&h, "direct");
		names_offer(&h, "nocache");
	}
	return fail(c, -EINVAL, "%s: unknown key %.60s%s", device_title(d, title, sizeof(title)), name, names_hint(&h, hint, sizeof(hint)));
}

/*
 * One item of a device: KEY[=VALUE], IMAGE.OPTION[=VALUE], OPTION[=VALUE] of
 * the image before it, or, as the first, the bare value of the device's first key.
 */
static int add_item(struct config *c, struct config_device *d, const char *name, const char *value)
{
	const struct devlist_key *type = devlist_key(d->type, name);
	struct config_key *image = last_image(d);
	const char *dot = strrchr(name, '.');
	char full[LINE_MAX_BYTES];
	int ret;

	if (type)
		return add_key(c, d, type, value ? value : type->type == KEY_TEXT ? "true" : "");
	if (image) {
		snprintf(full, sizeof(full), "%s.%s", image->name, name);
		type = devlist_key(d->type, full);
		if (type)
			return add_key(c, d, type, value ? value : "true");
	}
	ret = outage_option(c, d, name, value);
	if (ret <= 0)
		return ret;
	ret = net_option(c, d, name, value);
	if (ret <= 0)
		return ret;
	ret = image_option(c, d, image, name, value);
	if (ret <= 0)
		return ret;
	if (dot && dot != name) {
		snprintf(full, sizeof(full), "%.*s", (int)(dot - name), name);
		image = find_key(d, full);
		ret = image && (image->type == KEY_PATH || image->type == KEY_ROM) ? image_option(c, d, image, dot + 1, value) : 1;
		if (ret <= 0)
			return ret;
	}
	if (d->nkeys || !d->type->nkeys || d->type->key[0].type == KEY_TEXT)
		return unknown_key(c, d, name);
	if (value && d->type->key[0].type != KEY_CHR)
		return unknown_key(c, d, name);
	snprintf(full, sizeof(full), "%s%s%s", name, value ? "=" : "", value ? value : "");
	return add_key(c, d, &d->type->key[0], full);
}

static int unknown_device(struct config *c, const struct devlist *l, bool pci, const char *name)
{
	const struct devlist_device *other = devlist_find(l, name);
	struct names_hint h;
	char hint[500];

	if (other)
		return fail(c, -ENODEV, "%s goes with %s (%s)", name, other->pci ? "-s" : "-l", other->summary);
	names_begin(&h, name);
	for (unsigned i = 0; i < l->ndevices; i++) {
		const struct devlist_device *d = &l->device[i];

		if (d->pci != pci)
			continue;
		names_offer(&h, d->name);
		for (unsigned k = 0; !pci && k < d->nkeys; k++)
			if (d->key[k].type == KEY_CHR && devlist_owner(l, d->key[k].name) == d)
				names_offer(&h, d->key[k].name);
	}
	if (!pci)
		names_offer(&h, "bootrom");
	return fail(c, -ENODEV, "-%c: unknown device %.60s%s", pci ? 's' : 'l', name, names_hint(&h, hint, sizeof(hint)));
}

static int resolve_pci(struct config *c, const struct devlist *l, const struct config_pair *p)
{
	unsigned bus, slot, func;
	int end = 0;
	const struct devlist_device *type;
	struct config_device *d;
	const char *name;

	if (sscanf(p->key, "pci.%3u.%2u.%1u.%n", &bus, &slot, &func, &end) < 3 || !end || bus || slot > 31 || func > 7)
		return fail(c, -EINVAL, "%.60s: want pci.0.SLOT.FUNC.KEY", p->key);
	name = p->key + end;
	d = find_slot(c, bus, slot, func);
	if (strcmp(name, "device")) {
		if (!d)
			return fail(c, -EINVAL, "%.60s: no pci.%u.%u.%u.device before it", p->key, bus, slot, func);
		return add_item(c, d, name, p->value);
	}
	if (d)
		return fail(c, -EEXIST, "slot %u:%u is taken by %s already", slot, func, d->type->name);
	type = devlist_find(l, p->value ? p->value : "");
	if (!type || !type->pci)
		return unknown_device(c, l, true, p->value ? p->value : "");
	return add_device(c, type, bus, slot, func) ? 0 : -ENOMEM;
}

/* lpc.NAME[=VALUE], lpc.NAME.ITEM[=VALUE]; NAME may be a key of an lpc device (com1). */
static int resolve_lpc(struct config *c, const struct devlist *l, const struct config_pair *p)
{
	char name[64], value[LINE_MAX_BYTES];
	const char *rest = p->key + 4, *dot = strchr(rest, '.'), *item = dot ? dot + 1 : NULL;
	const struct devlist_device *type;
	struct config_device *d;
	bool by_key;
	int ret;

	snprintf(name, sizeof(name), "%.*s", dot ? (int)(dot - rest) : (int)strlen(rest), rest);
	if (!strcmp(name, "bootrom"))
		return fail(c, -EINVAL, "%.60s: the key is bootrom", p->key);
	type = devlist_find(l, name);
	by_key = !type;
	if (by_key)
		type = devlist_owner(l, name);
	if (!type || type->pci)
		return unknown_device(c, l, false, name);
	d = find_device(c, type);
	if (!d)
		d = add_device(c, type, 0, 0, 0);
	if (!d)
		return -ENOMEM;
	if (!item && !p->value)
		return 0;
	ret = item ? outage_option(c, d, item, p->value) : 1;
	if (ret <= 0)
		return ret;
	if (!by_key)
		return item ? add_item(c, d, item, p->value) : add_item(c, d, p->value, NULL);
	snprintf(value, sizeof(value), "%s%s%s", item ? item : "", item && p->value ? "=" : "", p->value ? p->value : "");
	return add_item(c, d, name, value);
}

static int add_implied(struct config *c, const struct devlist *l)
{
	for (unsigned i = 0; i < l->ndevices; i++) {
		const struct devlist_device *type = &l->device[i];
		struct config_device *there = type->pci && type->implied ? find_slot(c, 0, type->slot, type->func) : NULL;

		if (!type->implied || find_device(c, type))
			continue;
		if (there)
			return fail(c, -EEXIST, "slot %d:%d is %s's, which every machine has: move %s", type->slot, type->func, type->name, there->type->name);
		if (!add_device(c, type, 0, type->pci ? type->slot : 0, type->pci ? type->func : 0))
			return -ENOMEM;
	}
	return 0;
}

static void default_outage(struct config *c)
{
	for (unsigned i = 0; i < c->ndevices; i++)
		if (c->device[i].outage == OUTAGES)
			c->device[i].outage = c->outage;
}

/* Numbers the character streams; only now do the devices stand still in memory. */
static int number_streams(struct config *c)
{
	bool stdio = false;

	for (unsigned i = 0; i < c->ndevices; i++) {
		struct config_device *d = &c->device[i];

		for (unsigned k = 0; k < d->nkeys; k++) {
			struct config_key *key = &d->key[k];

			if (key->type != KEY_CHR || !strcmp(key->value, "none"))
				continue;
			if (c->nstreams == CONFIG_STREAMS)
				return fail(c, -E2BIG, "more than %d character devices", CONFIG_STREAMS);
			if (!strcmp(key->value, "stdio")) {
				if (stdio)
					return fail(c, -EBUSY, "stdio is given to two devices; one of them is %s", key->name);
				stdio = true;
			}
			key->stream = c->nstreams;
			c->stream[c->nstreams++] = (struct config_stream){ .device = d, .key = key };
		}
	}
	return 0;
}

int config_resolve(struct config *c, const struct devlist *l)
{
	int ret = expand_all(c);

	if (!ret)
		ret = resolve_options(c);
	for (unsigned i = 0; i < c->npairs && !ret; i++) {
		if (!strncmp(c->pair[i].key, "pci.", 4))
			ret = resolve_pci(c, l, &c->pair[i]);
		else if (!strncmp(c->pair[i].key, "lpc.", 4))
			ret = resolve_lpc(c, l, &c->pair[i]);
	}
	if (!ret)
		ret = add_implied(c, l);
	if (!ret)
		ret = check_nets(c);
	default_outage(c);
	return ret ? ret : number_streams(c);
}

/* ---- what help prints */

void config_print(const struct config *c)
{
	for (unsigned i = 0; i < OPTIONS; i++) {
		const char *value = config_get(c, option_table[i].key);

		if (!value)
			value = option_table[i].initial;
		if (value)
			printf("%s=%s\n", option_table[i].key, value);
	}
	for (unsigned i = 0; i < c->ndevices; i++) {
		const struct config_device *d = &c->device[i];
		char prefix[80];

		if (d->type->pci) {
			snprintf(prefix, sizeof(prefix), "pci.%u.%u.%u", d->bus, d->slot, d->func);
			printf("%s.device=%s\n", prefix, d->type->name);
		} else {
			snprintf(prefix, sizeof(prefix), "lpc.%s", d->type->name);
			printf("%s\n", prefix);
		}
		if (d->outage != c->outage)
			printf("%s.outage=%s\n", prefix, outage_names[d->outage]);
		for (unsigned k = 0; k < d->nkeys; k++) {
			const struct config_key *key = &d->key[k];

			printf("%s.%s=%s\n", prefix, key->name, key->value);
			if (key->ro && key->type == KEY_PATH)
				printf("%s.%s.ro=true\n", prefix, key->name);
			if (key->direct)
				printf("%s.%s.direct=true\n", prefix, key->name);
			if (key->nocache)
				printf("%s.%s.nocache=true\n", prefix, key->name);
		}
	}
}

void config_print_options(void)
{
	for (unsigned i = 0; i < OPTIONS; i++)
		printf("%-18s %s%s%s%s\n", option_table[i].key, option_table[i].help, option_table[i].initial ? " [" : "",
		       option_table[i].initial ? option_table[i].initial : "", option_table[i].initial ? "]" : "");
}

void config_print_devices(const struct devlist *l, bool pci)
{
	for (unsigned i = 0; i < l->ndevices; i++) {
		const struct devlist_device *d = &l->device[i];

		if (d->pci == pci)
			printf("%-16s %s%s\n", d->name, d->summary, d->implied ? " (always there)" : "");
	}
	if (!pci)
		printf("%-16s %s\n", "bootrom", "firmware image: bootrom,PATH[,VARS[,ro]]");
}

static const char *value_syntax(enum key_type type)
{
	switch (type) {
	case KEY_PATH: return "=PATH[,ro][,direct][,nocache]";
	case KEY_ROM: return "=PATH";
	case KEY_NET: return "=null|slirp[,OPTION=VALUE...]|tap[,ifname=NAME]|tapNAME";
	case KEY_CHR: return "=stdio|pty|unix=PATH|tcp=[ADDR:]PORT|file=PATH|none";
	default: return "=VALUE";
	}
}

int config_print_keys(struct config *c, const struct devlist *l)
{
	const struct devlist_device *d = devlist_find(l, c->subject);

	if (!d)
		d = devlist_owner(l, c->subject);
	if (!d)
		return unknown_device(c, l, true, c->subject);
	printf("%s: %s\n", d->name, d->summary);
	for (unsigned k = 0; k < d->nkeys; k++)
		printf("  %s%s\n        %s\n", d->key[k].name, value_syntax(d->key[k].type), d->key[k].help);
	printf("  outage=stall|ones|stop\n        what the guest sees of it when the device model dies; devmodel.outage otherwise\n");
	return 0;
}
