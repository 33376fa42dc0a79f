/*
 * vmm/config.h - what machine the user asked for.
 *
 * Two layers.  Below, a flat list of key=value pairs in the manner of
 * bhyve_config(5): -k files and -o set them directly, every other option is a
 * short way of writing some:
 *
 *	-m 64M -c 1		memory.size=64M  cpus=1
 *	-s 1:1,ide,hd0=a.img	pci.0.1.1.device=ide  pci.0.1.1.hd0=a.img
 *	-l com1,stdio		lpc.com1=stdio
 *	-l fwcfg,dma=off	lpc.fwcfg.dma=off
 *
 * Above, config_resolve() checks them all against the engine's own table of
 * keys and the device model's list of devices, and fills `struct config`.
 * Nothing here opens a file other than -k's.
 *
 * Thread: main, before any other starts; read-only afterwards.
 */
#ifndef CLEAVE_VMM_CONFIG_H
#define CLEAVE_VMM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/devlist.h"

enum { CONFIG_STREAMS = 32 };		/* as LINK_STREAMS */
enum { CONFIG_NO_ESCAPE = -1 };

/* What happens at a triple fault or at HLT with interrupts off. */
enum config_end { END_EXIT, END_RESET, END_WAIT, ENDS };

/* Who runs the guest's instructions, and whose the interrupt controllers are when that is KVM. */
enum config_engine { ENGINE_AUTO, ENGINE_SOFT, ENGINE_KVM, ENGINES };
enum config_irqchip { IRQCHIP_KERNEL, IRQCHIP_ENGINE, IRQCHIPS };

/* How vCPUs wait for the device model. */
enum config_spin { SPIN_AUTO, SPIN_OFF, SPINS };

/* What the guest sees of a device when the device model dies (vmm/outage.h). */
enum config_outage { OUTAGE_STALL, OUTAGE_ONES, OUTAGE_STOP, OUTAGES };

struct config_key {			/* one key of one device */
	char *name, *value;
	enum key_type type;
	bool ro, direct, nocache;	/* PATH and ROM */
	int stream;			/* CHR: its number, else -1 */
};

struct config_device {
	const struct devlist_device *type;
	unsigned bus, slot, func;	/* pci */
	struct config_key *key;
	unsigned nkeys;
	unsigned outage;		/* enum config_outage; OUTAGES: not given, until config_resolve() is done */
};

struct config_stream {			/* one character stream: who has it, where it goes */
	const struct config_device *device;
	const struct config_key *key;
};

struct config_pair { char *key, *value; };

enum config_action { CONFIG_RUN, CONFIG_USAGE, CONFIG_VERSION, CONFIG_LIST, CONFIG_KEYS, CONFIG_OPTIONS };

struct config {
	/* after config_args() */
	struct config_pair *pair;
	unsigned npairs;
	unsigned nfiles;		/* -f so far */
	enum config_action action;	/* other than RUN: print something and leave */
	bool subject_pci;		/* LIST: of -s, else of -l */
	const char *subject;		/* KEYS: of this device */
	char error[600];

	/* after config_resolve() */
	char *name;
	uint64_t memory;		/* bytes, whole MiB */
	unsigned cpus;
	unsigned cpu;			/* enum x86_level */
	bool strict_msr;
	unsigned engine;		/* enum config_engine */
	unsigned irqchip;		/* enum config_irqchip */
	bool jit;			/* engine=soft: vmm/jit */
	uint64_t jit_cache;		/* bytes */
	unsigned jit_threshold;
	char *jit_dump;
	char *jit_dump_text;
	uint64_t jit_dump_range[2];	/* first, last */
	bool jit_perf;
	bool jit_lockstep;		/* vmm/jit/lockstep.h */
	char *bootrom;
	char *gdb;			/* -G */
	char *kernel, *initrd, *append;	/* direct boot: instead of a boot ROM */
	char *uuid_text;
	uint8_t uuid[16];
	bool apic;
	bool rtc_localtime, stats, dump;
	unsigned triple_fault, halt;	/* enum config_end */
	char *escape_text;
	int escape;			/* byte, or CONFIG_NO_ESCAPE */
	char *daemon_path;		/* NULL: where it was installed */
	char *stats_file;
	unsigned spin;			/* enum config_spin */
	unsigned outage;		/* enum config_outage: of devices that do not say */
	unsigned grace;			/* ms */
	unsigned sandbox;		/* enum sandbox_mode */
	unsigned deadline;		/* s; 0: none */
	bool spare;			/* a device model stands by */

	struct config_device *device;
	unsigned ndevices;
	struct config_stream stream[CONFIG_STREAMS];
	unsigned nstreams;
};

struct config *config_new(void);
void config_free(struct config *);

/* 0, or -errno with the cause in ->error. */
int config_args(struct config *, int argc, char **argv);
int config_file(struct config *, const char *path);
int config_set(struct config *, const char *key, const char *value);	/* replaces */
int config_resolve(struct config *, const struct devlist *);

/* "virtio-blk@3:0", as the device model calls it in its messages. */
const char *config_device_name(const struct config_device *, char *to, size_t n);
const char *config_get(const struct config *, const char *key);
/* "64M", "2G", plain numbers are times `unit`.  -EINVAL, or -ERANGE beyond 64 bits. */
int config_size(const char *text, uint64_t unit, uint64_t *bytes);

void config_print(const struct config *);		/* config.dump */
void config_print_options(void);			/* -o help */
void config_print_devices(const struct devlist *, bool pci);
/* 0, or -ENODEV with the cause in ->error. */
int config_print_keys(struct config *, const struct devlist *);

#endif
