/*
 * ctl/main.c - cleavectl: finds the verbs on the command line and runs them in
 * the order in which they stand.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "proto/names.h"

static const struct verb *const families[] = { list_verbs, register_verbs, stats_verbs, life_verbs, key_verbs, disk_verbs, network_verbs, devmodel_verbs, sandbox_verbs };
enum { FAMILIES = sizeof(families) / sizeof(families[0]) };

static void usage(void)
{
	printf("usage: cleavectl [--vm=NAME [--cpu=N] VERB ...]\n"
	       "Without arguments: the machines that run.\n");
	for (unsigned f = 0; f < FAMILIES; f++) {
		for (const struct verb *v = families[f]; v->name; v++) {
			char form[40];
			bool prefix = v->name[strlen(v->name) - 1] == '-';

			snprintf(form, sizeof(form), "%s%s%s", v->name, prefix ? "NAME" : "", v->takes == TAKES_VALUE ? "=VALUE" : v->takes == MAY_TAKE_VALUE ? "[=VALUE]" : "");
			printf("  --%-22s %s\n", form, v->help);
		}
	}
}

/* The options that say of what; 1: not one of them. */
static int option(struct ctl *c, const char *name, const char *value)
{
	uint64_t n = 0;

	if (!strcmp(name, "vm")) {
		c->vm = value;
		return value && *value ? 0 : ctl_error(EINVAL, "--vm=NAME");
	}
	if (!strcmp(name, "cpu")) {
		c->cpu_given = true;
		if (!ctl_number(value, UINT32_MAX, &n))
			return ctl_error(EINVAL, "--cpu=NUMBER");
		c->cpu = n;
		return 0;
	}
	if (!strcmp(name, "desc-base")) {
		c->base_given = ctl_number(value, UINT64_MAX, &c->base);
		return c->base_given ? 0 : ctl_error(EINVAL, "--desc-base=NUMBER");
	}
	if (!strcmp(name, "desc-limit")) {
		c->limit_given = ctl_number(value, UINT32_MAX, &n);
		c->limit = n;
		return c->limit_given ? 0 : ctl_error(EINVAL, "--desc-limit=NUMBER");
	}
	if (!strcmp(name, "desc-access")) {
		c->access_given = ctl_number(value, UINT32_MAX, &n);
		c->access = n;
		return c->access_given ? 0 : ctl_error(EINVAL, "--desc-access=NUMBER");
	}
	return 1;
}

static const struct verb *find(const char *name, const char **rest)
{
	for (unsigned f = 0; f < FAMILIES; f++) {
		for (const struct verb *v = families[f]; v->name; v++) {
			size_t n = strlen(v->name);

			*rest = name + n;
			if (!strcmp(v->name, name) || (v->name[n - 1] == '-' && !strncmp(v->name, name, n) && name[n]))
				return v;
		}
	}
	return NULL;
}

/* get-stats must not be taken for the register "stats". */
static const struct verb *find_exact_first(const char *name, const char **rest)
{
	for (unsigned f = 0; f < FAMILIES; f++)
		for (const struct verb *v = families[f]; v->name; v++)
			if (!strcmp(v->name, name)) {
				*rest = name + strlen(name);
				return v;
			}
	return find(name, rest);
}

static int unknown(const char *name)
{
	static const char *const options[] = { "vm", "cpu", "desc-base", "desc-limit", "desc-access", "help", "version" };
	struct names_hint h;
	char hint[600];

	names_begin(&h, name);
	for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		names_offer(&h, options[i]);
	for (unsigned f = 0; f < FAMILIES; f++)
		for (const struct verb *v = families[f]; v->name; v++)
			names_offer(&h, v->name);
	return ctl_error(EINVAL, "unknown --%s%s", name, names_hint(&h, hint, sizeof(hint)));
}

/* Splits "--name=value" in place; the value may be the next argument for options that need one. */
static int split(char *arg, char **next, char **name, char **value, bool *took_next)
{
	*took_next = false;
	if (strncmp(arg, "--", 2) || !arg[2])
		return ctl_error(EINVAL, "%s: every argument begins with -- (cleavectl --help)", arg);
	*name = arg + 2;
	*value = strchr(arg, '=');
	if (*value) {
		*(*value)++ = 0;
	} else if ((!strcmp(*name, "vm") || !strcmp(*name, "cpu")) && *next) {
		*value = *next;
		*took_next = true;
	}
	return 0;
}

/* First pass, options; second pass, verbs, so that --vm may stand anywhere. */
static int run(struct ctl *c, int argc, char **argv)
{
	struct { const struct verb *verb; const char *rest, *value; } todo[64];
	unsigned n = 0;

	for (int i = 1; i < argc; i++) {
		char *name = NULL, *value = NULL;
		bool took_next;
		int ret = split(argv[i], &argv[i + 1], &name, &value, &took_next);

		if (ret)
			return ret;
		i += took_next;
		if (!strcmp(name, "help") || !strcmp(name, "version")) {
			if (*name == 'h')
				usage();
			else
				puts("cleavectl " CLEAVE_VERSION);
			return 0;
		}
		ret = option(c, name, value);
		if (ret < 0)
			return ret;
		if (!ret)
			continue;
		if (n == sizeof(todo) / sizeof(todo[0]))
			return ctl_error(E2BIG, "too many verbs");
		todo[n].verb = find_exact_first(name, &todo[n].rest);
		if (!todo[n].verb)
			return unknown(name);
		todo[n].value = value;
		if (todo[n].verb->takes != MAY_TAKE_VALUE && !value != (todo[n].verb->takes == TAKES_NOTHING))
			return ctl_error(EINVAL, "--%s %s", name, value ? "takes no value" : "wants a value");
		n++;
	}
	if (!n)
		return c->vm ? ctl_error(EINVAL, "what is to be done with %s? (cleavectl --help)", c->vm) : list_verbs[0].run(c, "", NULL);
	for (unsigned i = 0; i < n; i++) {
		int ret = todo[i].verb->run(c, todo[i].rest, todo[i].value);

		if (ret)
			return ret;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct ctl c = { .fd = -1 };
	int ret = run(&c, argc, argv);

	ctl_close(&c);
	return ret ? 1 : 0;
}
