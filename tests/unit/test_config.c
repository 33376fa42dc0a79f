/*
 * tests/unit/test_config.c - command line, configuration files, device lists.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/names.h"
#include "vmm/config.h"
#include "vmm/x86/cpuid.h"

static const char list_text[] =
	"hostbridge\tpci,implied=0:0\thost bridge\n"
	"lpc\tpci,implied=1:0\tISA bridge\n"
	"ide\tpci\tIDE controller\n"
	"ide hd0\tpath\tprimary master\n"
	"ide hd0.bootindex\ttext\tboot order\n"
	"ide hd1\tpath\tprimary slave\n"
	"ide hd1.bootindex\ttext\tboot order\n"
	"ide cd0\trom\tCD\n"
	"ide cd0.bootindex\ttext\tboot order\n"
	"fwcfg\tlpc,implied\tfirmware configuration\n"
	"fwcfg dma\ttext\ton or off\n"
	"fwcfg system.manufacturer\ttext\tSMBIOS\n"
	"fwcfg system.serial_number\ttext\tSMBIOS\n"
	"fwcfg chassis.asset_tag\ttext\tSMBIOS\n"
	"fwcfg file0\trom\ta file\n"
	"fwcfg file0.name\ttext\tits name\n"
	"fwcfg file0.string\ttext\tits content\n"
	"flash\tlpc,implied\tfirmware's flash\n"
	"flash vars\tpath\tits file\n"
	"debugcon\tlpc\tdebug console\n"
	"debugcon chr\tchr\twhere it goes\n"
	"pvpanic\tlpc\tpanic\n"
	"pvpanic ioport\ttext\tport\n"
	"virtio-net\tpci\tnetwork card\n"
	"virtio-net backend\tnet\twhere it ends\n"
	"virtio-net mac\ttext\taddress\n"
	"virtio-net mtu\ttext\tbytes\n"
	"uart\tlpc\tserial ports\n"
	"uart com1\tchr\tfirst\n"
	"uart com2\tchr\tsecond\n";

enum { ARGS = 24 };

static struct devlist *list;

static int setup(void **state)
{
	char err[200];

	(void)state;
	return devlist_parse(&list, list_text, sizeof(list_text) - 1, err, sizeof(err));
}

static int teardown(void **state)
{
	(void)state;
	devlist_free(list);
	return 0;
}

/* One command line, split at spaces; resolved.  The caller frees *c. */
static int parse(struct config **c, const char *line)
{
	char *argv[ARGS + 2] = { (char *)"cleave" }, *copy = strdup(line), *save = NULL;
	int argc = 1, ret;

	for (char *word = strtok_r(copy, " ", &save); word && argc < ARGS; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	*c = config_new();
	assert_non_null(*c);
	ret = config_args(*c, argc, argv);
	if (!ret && (*c)->action == CONFIG_RUN)
		ret = config_resolve(*c, list);
	free(copy);
	return ret;
}

static const struct config_device *device(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->ndevices; i++)
		if (!strcmp(c->device[i].type->name, name))
			return &c->device[i];
	return NULL;
}

static const struct config_key *key(const struct config *c, const char *dev, const char *name)
{
	const struct config_device *d = device(c, dev);

	for (unsigned k = 0; d && k < d->nkeys; k++)
		if (!strcmp(d->key[k].name, name))
			return &d->key[k];
	return NULL;
}

static void test_example(void **state)
{
	struct config *c;

	(void)state;
	assert_int_equal(parse(&c, "-m 64M -l bootrom,/rom.bin -l com1,stdio -s 1:1,ide,hd0=disk.img grubvm"), 0);
	assert_string_equal(c->name, "grubvm");
	assert_int_equal(c->memory, 64 << 20);
	assert_int_equal(c->cpus, 1);
	assert_string_equal(c->bootrom, "/rom.bin");
	assert_int_equal(c->escape, 0x1d);
	assert_int_equal(c->triple_fault, END_EXIT);
	assert_true(c->rtc_localtime);
	assert_string_equal(key(c, "ide", "hd0")->value, "disk.img");
	assert_false(key(c, "ide", "hd0")->ro);
	assert_int_equal(device(c, "ide")->slot, 1);
	assert_int_equal(device(c, "ide")->func, 1);
	assert_string_equal(key(c, "uart", "com1")->value, "stdio");
	assert_int_equal(key(c, "uart", "com1")->stream, 0);
	assert_int_equal(c->nstreams, 1);
	assert_ptr_equal(c->stream[0].key, key(c, "uart", "com1"));
	/* what every machine has */
	assert_int_equal(device(c, "lpc")->slot, 1);
	assert_non_null(device(c, "hostbridge"));
	assert_non_null(device(c, "fwcfg"));
	assert_null(device(c, "pvpanic"));
	config_free(c);
}

static void test_bootrom_variables(void **state)
{
	struct config *c;

	(void)state;
	assert_int_equal(parse(&c, "-l bootrom,/rom.bin vm"), 0);
	assert_null(key(c, "flash", "vars"));
	config_free(c);
	assert_int_equal(parse(&c, "-l bootrom,/code.fd,my=vars.fd vm"), 0);
	assert_string_equal(c->bootrom, "/code.fd");
	assert_string_equal(key(c, "flash", "vars")->value, "my=vars.fd");
	assert_false(key(c, "flash", "vars")->ro);
	config_free(c);
	assert_int_equal(parse(&c, "-l bootrom,/code.fd,vars.fd,ro vm"), 0);
	assert_string_equal(key(c, "flash", "vars")->value, "vars.fd");
	assert_true(key(c, "flash", "vars")->ro);
	config_free(c);
}

static void test_direct_boot(void **state)
{
	struct config *c;

	(void)state;
	assert_int_equal(parse(&c, "--kernel bzImage --initrd=initrd.img --append console=ttyS0 vm"), 0);
	assert_string_equal(c->kernel, "bzImage");
	assert_string_equal(c->initrd, "initrd.img");
	assert_string_equal(c->append, "console=ttyS0");
	assert_null(c->bootrom);
	config_free(c);
	assert_int_equal(parse(&c, "-o kernel=a -m 6G vm"), 0);
	assert_string_equal(c->kernel, "a");
	assert_int_equal(c->memory, 6ull << 30);
	config_free(c);
}

static void test_options_of_images(void **state)
{
	struct config *c;

	(void)state;
	assert_int_equal(parse(&c, "-s 1:1,ide,hd0=a,ro,bootindex=1,hd1=b,nocache,direct,bootindex=0,cd0=c.iso x"), 0);
	assert_true(key(c, "ide", "hd0")->ro);
	assert_false(key(c, "ide", "hd0")->nocache);
	assert_string_equal(key(c, "ide", "hd0.bootindex")->value, "1");
	assert_false(key(c, "ide", "hd1")->ro);
	assert_true(key(c, "ide", "hd1")->nocache);
	assert_true(key(c, "ide", "hd1")->direct);
	assert_string_equal(key(c, "ide", "hd1.bootindex")->value, "0");
	assert_true(key(c, "ide", "cd0")->ro);
	config_free(c);

	assert_int_equal(parse(&c, "-s 1:1,ide,hd0=a,hd1=b,hd0.ro=on,hd1.ro=off x"), 0);
	assert_true(key(c, "ide", "hd0")->ro);
	assert_false(key(c, "ide", "hd1")->ro);
	config_free(c);

	/* an empty CD drive; a path as the first, bare item */
	assert_int_equal(parse(&c, "-s 1:1,ide,cd0 x"), 0);
	assert_string_equal(key(c, "ide", "cd0")->value, "");
	config_free(c);
	assert_int_equal(parse(&c, "-s 2,ide,/dev/null x"), 0);
	assert_string_equal(key(c, "ide", "hd0")->value, "/dev/null");
	config_free(c);
}

/* Options behind a network are its own, may repeat, and are judged at once. */
static void test_networks(void **state)
{
	static const struct { const char *given, *backend, *mac; } good[] = {
		{ "slirp", "slirp", NULL },
		{ "null,mac=52:54:00:00:00:01", "null", "52:54:00:00:00:01" },
		{ "slirp,hostfwd=tcp:127.0.0.1:2222-:22,mac=2:0:0:0:0:1,hostfwd=udp::53-10.0.2.15:53,restrict,mtu=9000",
		  "slirp,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp::53-10.0.2.15:53,restrict", "2:0:0:0:0:1" },
		{ "tap", "tap", NULL },
		{ "tap3", "tap3", NULL },
		{ "tap,vnet0", "tap,ifname=vnet0", NULL },
		{ "tap,ifname=vnet0,mac=2:0:0:0:0:1", "tap,ifname=vnet0", "2:0:0:0:0:1" },
		{ "backend=slirp,net=192.168.5.0/24,dns=192.168.5.9", "slirp,net=192.168.5.0/24,dns=192.168.5.9", NULL },
		{ "slirp,hostfwd=tcp::22-192.168.5.20:22,net=192.168.5.0/24", "slirp,hostfwd=tcp::22-192.168.5.20:22,net=192.168.5.0/24", NULL },
		{ "slirp,hostfwd=tcp:[::1]:22-[fec0::15]:22", "slirp,hostfwd=tcp:[::1]:22-[fec0::15]:22", NULL },
	};
	static const struct { const char *given, *error; } bad[] = {
		{ "slurp", "did you mean slirp" },
		{ "slirp,hostfwd=tcp:2222-:22", "want tcp|udp:[HOSTADDR]:PORT" },
		{ "slirp,hostfwd=tcp::0-:22", "want tcp|udp:[HOSTADDR]:PORT" },
		{ "slirp,hostfwd=tcp::70000-:22", "want tcp|udp:[HOSTADDR]:PORT" },
		{ "slirp,hostfwd=sctp::1-:22", "want tcp|udp:[HOSTADDR]:PORT" },
		{ "slirp,hostfwd=tcp:[::1]:22-:22", "both are IPv6" },
		{ "slirp,hostfwd=tcp:[::1]:22-[]:22", "name it" },
		{ "slirp,ipv6=off,hostfwd=tcp:[::1]:22-[fec0::15]:22", "IPv6 is off" },
		{ "slirp,hostfwd=tcp::22-:22,hostfwd=tcp::22-:23", "forwarded already" },
		{ "slirp,hostfwd=tcp::22-10.1.1.1:22", "outside its network" },
		{ "slirp,net=10.0.2.0/30", "8 to 27 bits" },
		{ "slirp,net=10.0.2.1/24", "beyond the first 24" },
		{ "slirp,dns=10.0.3.3", "outside the guest's network" },
		{ "slirp,hostfw=tcp::22-:22", "did you mean hostfwd" },
		{ "slirp,restrict=maybe", "want on or off" },
		{ "slirp,hostname=a_b", "letters, digits" },
		{ "slirp,ifname=x", "unknown key ifname" },
		{ "tap0,ifname=tap1", "named twice" },
		{ "tap,ifname=a-name-far-too-long", "no name of an interface" },
		{ "tap,hostfwd=tcp::22-:22", "unknown key hostfwd" },
		{ "null,hostfwd=tcp::22-:22", "unknown key hostfwd" },
		{ "mac=2:0:0:0:0:1,hostfwd=tcp::22-:22", "unknown key hostfwd" },
	};
	char line[300];
	struct config *c;

	(void)state;
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(line, sizeof(line), "-s 4,virtio-net,%s x", good[i].given);
		if (parse(&c, line))
			fail_msg("%s: %s", line, c->error);
		assert_string_equal(key(c, "virtio-net", "backend")->value, good[i].backend);
		if (good[i].mac)
			assert_string_equal(key(c, "virtio-net", "mac")->value, good[i].mac);
		config_free(c);
	}
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line), "-s 4,virtio-net,%s x", bad[i].given);
		if (!parse(&c, line) || !strstr(c->error, bad[i].error))
			fail_msg("%s: not \"%s\" but: %s", line, bad[i].error, c->error);
		config_free(c);
	}
}

static void test_streams(void **state)
{
	struct config *c;

	(void)state;
	assert_int_equal(parse(&c, "-l com2,unix=/tmp/s -l com1,pty -l debugcon,file=/tmp/log x"), 0);
	assert_int_equal(c->nstreams, 3);
	assert_string_equal(key(c, "uart", "com2")->value, "unix=/tmp/s");
	assert_string_equal(key(c, "uart", "com1")->value, "pty");
	assert_string_equal(key(c, "debugcon", "chr")->value, "file=/tmp/log");
	for (unsigned i = 0; i < c->nstreams; i++)
		assert_int_equal(c->stream[i].key->stream, i);
	config_free(c);

	assert_int_equal(parse(&c, "-l com1,none x"), 0);
	assert_int_equal(c->nstreams, 0);
	assert_int_equal(key(c, "uart", "com1")->stream, -1);
	config_free(c);
}

static void test_smbios(void **state)
{
	static const uint8_t uuid[16] = { 0x12, 0x34, 0x56, 0x78 };
	struct config *c;

	(void)state;
	assert_int_equal(parse(&c, "-B 1,manufacturer=Acme,serial=4-2,uuid=12345678-0000-0000-0000-000000000000 -B 3,asset=x x"), 0);
	assert_string_equal(key(c, "fwcfg", "system.manufacturer")->value, "Acme");
	assert_string_equal(key(c, "fwcfg", "system.serial_number")->value, "4-2");
	assert_string_equal(key(c, "fwcfg", "chassis.asset_tag")->value, "x");
	assert_memory_equal(c->uuid, uuid, sizeof(uuid));
	config_free(c);
	/* the long way */
	assert_int_equal(parse(&c, "-l fwcfg,system.manufacturer=Acme x"), 0);
	assert_string_equal(key(c, "fwcfg", "system.manufacturer")->value, "Acme");
	config_free(c);
}

static void test_other_devices(void **state)
{
	struct config *c;

	(void)state;
	assert_int_equal(parse(&c, "-l fwcfg,dma=off -l pvpanic -u -s 0,hostbridge -s 3,lpc x"), 0);
	assert_string_equal(key(c, "fwcfg", "dma")->value, "off");
	assert_non_null(device(c, "pvpanic"));
	assert_false(c->rtc_localtime);
	assert_int_equal(device(c, "lpc")->slot, 3);	/* where the user wants it, and only once */
	assert_int_equal(c->ndevices, 5);
	config_free(c);

	assert_int_equal(parse(&c, "-f opt/a,string=hello x"), 0);
	assert_string_equal(key(c, "fwcfg", "file0.name")->value, "opt/a");
	assert_string_equal(key(c, "fwcfg", "file0.string")->value, "hello");
	config_free(c);
}

static void test_keys(void **state)
{
	struct config *c;

	(void)state;
	assert_int_equal(parse(&c, "-o memory.size=2G -o triple_fault=reset -o halt=wait -o escape=none -o stats "
			       "-o pci.0.4.0.device=ide -o pci.0.4.0.hd0=a -o lpc.com1=pty -o lpc.fwcfg.dma=off x"), 0);
	assert_int_equal(c->memory, 2ull << 30);
	assert_int_equal(c->triple_fault, END_RESET);
	assert_int_equal(c->halt, END_WAIT);
	assert_int_equal(c->escape, CONFIG_NO_ESCAPE);
	assert_true(c->stats);
	assert_string_equal(key(c, "ide", "hd0")->value, "a");
	assert_string_equal(key(c, "uart", "com1")->value, "pty");
	assert_string_equal(key(c, "fwcfg", "dma")->value, "off");
	config_free(c);

	assert_int_equal(parse(&c, "x"), 0);
	assert_int_equal(c->cpu, X86_LEVEL_ALL);
	assert_true(c->strict_msr);
	config_free(c);
	assert_int_equal(parse(&c, "-w -o cpu=x86-64-v2 x"), 0);
	assert_int_equal(c->cpu, X86_LEVEL_V2);
	assert_false(c->strict_msr);
	config_free(c);

	/* the later setting holds, wherever it came from */
	assert_int_equal(parse(&c, "-m 1G -o memory.size=3M -m 5 x"), 0);
	assert_int_equal(c->memory, 5 << 20);
	config_free(c);
}

static void test_uuid(void **state)
{
	struct config *a, *b;

	(void)state;
	assert_int_equal(parse(&a, "-U 12345678-9abc-def0-1234-56789abcdef0 x"), 0);
	assert_memory_equal(a->uuid, "\x12\x34\x56\x78\x9a\xbc\xde\xf0\x12\x34\x56\x78\x9a\xbc\xde\xf0", 16);
	config_free(a);
	/* made from the name: the same for the same, another for another */
	assert_int_equal(parse(&a, "x"), 0);
	assert_int_equal(parse(&b, "x"), 0);
	assert_memory_equal(a->uuid, b->uuid, 16);
	config_free(b);
	assert_int_equal(parse(&b, "y"), 0);
	assert_memory_not_equal(a->uuid, b->uuid, 16);
	config_free(a);
	config_free(b);
}

static void test_sizes(void **state)
{
	uint64_t n;

	(void)state;
	assert_int_equal(config_size("64", 1 << 20, &n), 0);
	assert_int_equal(n, 64 << 20);
	assert_int_equal(config_size("64K", 1, &n), 0);
	assert_int_equal(n, 64 << 10);
	assert_int_equal(config_size("3g", 1, &n), 0);
	assert_int_equal(n, 3ull << 30);
	assert_int_equal(config_size("2TB", 1, &n), 0);
	assert_int_equal(n, 2ull << 40);
	assert_int_equal(config_size("", 1, &n), -EINVAL);
	assert_int_equal(config_size("-1", 1, &n), -EINVAL);
	assert_int_equal(config_size("1X", 1, &n), -EINVAL);
	assert_int_equal(config_size("1MM", 1, &n), -EINVAL);
	assert_int_equal(config_size("16777216T", 1, &n), -ERANGE);
	assert_int_equal(config_size("99999999999999999999", 1, &n), -ERANGE);
}

static void test_outage(void **state)
{
	struct config *c;

	(void)state;
	assert_int_equal(parse(&c, "-s 1:1,ide,outage=ones,hd0=a -l com1,stdio,outage=stop -l fwcfg,outage=stall -o devmodel.grace=60000 x"), 0);
	assert_int_equal(device(c, "ide")->outage, OUTAGE_ONES);
	assert_string_equal(key(c, "ide", "hd0")->value, "a");
	assert_int_equal(device(c, "uart")->outage, OUTAGE_STOP);
	assert_string_equal(key(c, "uart", "com1")->value, "stdio");
	assert_int_equal(device(c, "fwcfg")->outage, OUTAGE_STALL);
	assert_int_equal(device(c, "lpc")->outage, OUTAGE_STALL);	/* the default's default */
	assert_int_equal(c->grace, 60000);
	config_free(c);

	assert_int_equal(parse(&c, "-s 1:1,ide,hd0=a,ro,outage=stall -o lpc.uart.outage=stop -o devmodel.outage=ones x"), 0);
	assert_int_equal(device(c, "ide")->outage, OUTAGE_STALL);
	assert_true(key(c, "ide", "hd0")->ro);
	assert_int_equal(device(c, "uart")->outage, OUTAGE_STOP);
	assert_int_equal(device(c, "hostbridge")->outage, OUTAGE_ONES);
	assert_int_equal(c->grace, 1000);
	config_free(c);
}

/* Each of these is refused, and the message says what the user needs. */
static void test_errors(void **state)
{
	static const struct { const char *line, *says; } bad[] = {
		{ "", "which machine" },
		{ "a b", "too many arguments" },
		{ "../x", "is no name for a machine" },
		{ ".x", "is no name for a machine" },
		{ "-Z x", "unknown option -Z" },
		{ "--frob x", "unknown option" },
		{ "-m", "-m wants an argument" },
		{ "-m 1.5G x", "want a number" },
		{ "-m 0 x", "whole megabytes" },
		{ "-m 512K x", "whole megabytes" },
		{ "-m 99999999T x", "beyond 64 bits" },
		{ "-c 2 x", "this version runs one" },
		{ "-c 0 x", "not a number of processors" },
		{ "-c cpus=1,sockets=2 x", "make 2" },
		{ "-c cpus=1,cores=4000000000 x", "want [cpus=]N" },
		{ "-s 1:1 x", "a slot wants a device" },
		{ "-s 32,ide x", "not a PCI slot" },
		{ "-s 1:8,ide x", "not a PCI slot" },
		{ "-s x,ide x", "not a PCI slot" },
		{ "-s 1:0:0,ide x", "there is only bus 0" },
		{ "-s 1:1,ide -s 1:1,ide x", "taken by ide" },
		{ "-s 1:0,ide x", "is lpc's, which every machine has" },
		{ "-s 1:1,idee x", "did you mean ide?" },
		{ "-s 1:1,zzzzzz x", "there is hostbridge, lpc, ide" },
		{ "-s 1:1,uart x", "goes with -l" },
		{ "-l ide x", "goes with -s" },
		{ "-l com9,stdio x", "did you mean com1, com2" },
		{ "-l bootrom x", "wants a firmware image" },
		{ "-l bootrom,/rom, x", "wants a firmware image" },
		{ "-l bootrom,/rom,/vars,rw x", "VARS[,ro]" },
		{ "--kernel bzImage -l bootrom,/rom x", "with one of them" },
		{ "--initrd initrd.img x", "--initrd belongs to a kernel" },
		{ "--append quiet -l bootrom,/rom x", "--append belongs to a kernel" },
		{ "--kernel", "--kernel wants an argument" },
		{ "-s 1:1,ide,hd7=a x", "did you mean hd0, hd1?" },
		{ "-s 1:1,ide,hd0=a,bootidx=1 x", "did you mean bootindex?" },
		{ "-s 1:1,ide,hd0=a,hd0=b x", "given twice" },
		{ "-s 1:1,ide,hd0= x", "wants a file" },
		{ "-s 1:1,ide,hd0=a,ro=maybe x", "want true or false" },
		{ "-s 1:1,ide,cd0=a,ro=off x", "always read-only" },
		{ "-s 1:1,ide,ro,hd0=a x", "ro comes after the image" },
		{ "-l fwcfg,dam=off x", "did you mean dma?" },
		{ "-l com1,stdio -l com1,pty x", "given twice" },
		{ "-l com1,stdio -l com2,stdio x", "given to two devices" },
		{ "-l com1,studio x", "want stdio, pty" },
		{ "-l com1,stdio,pty x", "given twice" },
		{ "-l debugcon,unix= x", "want stdio, pty" },
		{ "-o frob=1 x", "unknown key frob" },
		{ "-o memry.size=1 x", "did you mean memory.size?" },
		{ "-o triple_fault=wait x", "triple_fault=wait" },
		{ "-o stats=perhaps x", "want true or false" },
		{ "-o escape=abc x", "escape=abc" },
		{ "-o cpu=x86-64-v4 x", "cpu=x86-64-v4" },
		{ "-o link.spin=some x", "link.spin=some" },
		{ "-o pci.0.9.0.hd0=a x", "no pci.0.9.0.device before it" },
		{ "-o pci.x=1 x", "want pci.0.SLOT.FUNC.KEY" },
		{ "-o lpc.bootrom=1 x", "the key is bootrom" },
		{ "-o devmodel.outage=on x", "there is stall, ones, stop" },
		{ "-o devmodel.grace=1s x", "want milliseconds" },
		{ "-s 1:1,ide,hd0=a,outage=one x", "-s 1:1,ide: outage=one (did you mean ones?)" },
		{ "-s 1:1,ide,hd0=a,outage x", "there is stall, ones, stop" },
		{ "-l com1,stdio,outage=zzzzz x", "-l uart: outage=zzzzz (there is stall, ones, stop" },
		{ "-l com1,stdio,outage=ones -l com2,pty,outage=stall x", "the whole device's" },
		{ "-U 1234 x", "is no UUID" },
		{ "-k /nonexistent x", "cannot read" },
		{ "-f name x", "-f NAME,string=TEXT" },
		{ "-B 1 x", "-B TYPE,KEY=VALUE" },
		{ "-B 4,version=1 x", "type 0 BIOS" },
		{ "-B x,version=1 x", "type 0 BIOS" },
		{ "-B 1,serial x", "want KEY=VALUE" },
		{ "-B 3,family=x x", "type 3 has manufacturer version serial asset sku" },
		{ "-B 1,uuid=x x", "no UUID" },
		{ "-o uuid=%(uuid) x", "refers to itself" },
		{ "-o bootrom=%(none) x", "no such key" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct config *c;
		int ret = parse(&c, bad[i].line);

		if (ret >= 0 || !strstr(c->error, bad[i].says))
			fail_msg("`%s`: %d, \"%s\" (want: %s)", bad[i].line, ret, c->error, bad[i].says);
		config_free(c);
	}
}

static void test_help(void **state)
{
	struct config *c;

	(void)state;
	assert_int_equal(parse(&c, "-s help"), 0);
	assert_int_equal(c->action, CONFIG_LIST);
	assert_true(c->subject_pci);
	config_free(c);
	assert_int_equal(parse(&c, "-l help"), 0);
	assert_int_equal(c->action, CONFIG_LIST);
	assert_false(c->subject_pci);
	config_free(c);
	assert_int_equal(parse(&c, "-s ide,help"), 0);
	assert_int_equal(c->action, CONFIG_KEYS);
	config_free(c);
	assert_int_equal(parse(&c, "-s 1:1,ide,help"), 0);
	assert_int_equal(c->action, CONFIG_KEYS);
	config_free(c);
	assert_int_equal(parse(&c, "-h"), 0);
	assert_int_equal(c->action, CONFIG_USAGE);
	config_free(c);
}

static int with_file(struct config **c, const char *text)
{
	char path[] = "/tmp/test_config.XXXXXX", line[80];
	int fd = mkstemp(path), ret;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	snprintf(line, sizeof(line), "-k %s", path);
	ret = parse(c, line);
	unlink(path);
	return ret;
}

static void test_files(void **state)
{
	struct config *c;

	(void)state;
	assert_int_equal(with_file(&c, "# a machine\n\n  name = vm1\n"), -EINVAL);	/* no spaces around '=' */
	config_free(c);
	assert_int_equal(with_file(&c, "# a machine\n\n  name=vm1  \nmemory.size=32M\nbootrom=/roms/%(name)-100%%.bin\n"
				      "pci.0.1.1.device=ide\npci.0.1.1.hd0=/images/%(name).img\npci.0.1.1.hd0.ro=true\nlpc.com1=pty"), 0);
	assert_string_equal(c->name, "vm1");
	assert_int_equal(c->memory, 32 << 20);
	assert_string_equal(c->bootrom, "/roms/vm1-100%.bin");
	assert_string_equal(key(c, "ide", "hd0")->value, "/images/vm1.img");
	assert_true(key(c, "ide", "hd0")->ro);
	assert_string_equal(key(c, "uart", "com1")->value, "pty");
	config_free(c);
	assert_int_equal(with_file(&c, "name=x\nfrob=1\n"), -EINVAL);
	assert_non_null(strstr(c->error, ":2: unknown key frob"));
	config_free(c);
	assert_int_equal(with_file(&c, "just text\n"), -EINVAL);
	assert_non_null(strstr(c->error, "not key=value"));
	config_free(c);
}

static void test_device_lists(void **state)
{
	static const char *const bad[] = {
		"", "\n\n", "ide\n", "ide\tpci\n", "ide\tisa\tx\n", "ide\t\tx\n", "\tpci\tx\n", "i\033de\tpci\tx\n",
		"ide\tpci\tx\nide\tpci\tx\n", "ide hd0\tpath\tx\n", "ide\tpci\tx\nide hd0\tfile\tx\n",
		"ide\tpci\tx\nide hd0\tpath\tx\nide hd0\tpath\tx\n", "ide\tpci\tx\033[2J\n", "ide\tpci,implied=99:0\tx\n",
		"ide\tpci\tx\nide hd0\tpath\t\033[2J\n",
		"ide\tpci,implied\tx\n",
	};
	struct devlist *l;
	char err[200];

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err[0] = 0;
		if (devlist_parse(&l, bad[i], strlen(bad[i]), err, sizeof(err)) != -EPROTO || !*err || l)
			fail_msg("list %u is taken", i);
	}
	/* words that this version does not know are a newer daemon's */
	assert_int_equal(devlist_parse(&l, "ide\tpci,hotplug,implied=1:1\tx\n", 29, err, sizeof(err)), 0);
	assert_true(l->device[0].implied);
	assert_int_equal(l->device[0].slot, 1);
	devlist_free(l);
	/* not a string */
	assert_int_equal(devlist_parse(&l, "ide\tpci\tx\nxyz", 10, err, sizeof(err)), 0);
	assert_int_equal(l->ndevices, 1);
	devlist_free(l);
}

static void test_names(void **state)
{
	struct names_hint h;
	char to[300];

	(void)state;
	assert_int_equal(names_distance("rax", "rax"), 0);
	assert_int_equal(names_distance("RAX", "rax"), 0);
	assert_int_equal(names_distance("rax", "rbx"), 1);
	assert_int_equal(names_distance("arx", "rax"), 1);
	assert_int_equal(names_distance("", "rax"), 3);
	assert_int_equal(names_distance("kitten", "sitting"), 3);
	names_begin(&h, "hd9");
	names_offer(&h, "cd0");
	names_offer(&h, "hd0");
	assert_string_equal(names_hint(&h, to, sizeof(to)), " (did you mean hd0?)");
	names_begin(&h, "boot");
	names_offer(&h, "xyz");
	names_offer(&h, "bootindex");
	assert_string_equal(names_hint(&h, to, sizeof(to)), " (did you mean bootindex?)");
	names_begin(&h, "q");
	names_offer(&h, "xyz");
	assert_string_equal(names_hint(&h, to, sizeof(to)), " (there is xyz)");
	names_begin(&h, "q");
	assert_string_equal(names_hint(&h, to, sizeof(to)), " (there is none)");
	/* more names than fit */
	names_begin(&h, "q");
	for (unsigned i = 0; i < 200; i++)
		names_offer(&h, "a-rather-long-name");
	names_hint(&h, to, sizeof(to));
	assert_true(strlen(to) < sizeof(to));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_bootrom_variables), cmocka_unit_test(test_direct_boot),
		cmocka_unit_test(test_options_of_images),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_smbios), cmocka_unit_test(test_other_devices),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_uuid),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_outage),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_device_lists),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
