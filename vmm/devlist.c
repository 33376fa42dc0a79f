/*
 * vmm/devlist.c - asks the device model what it offers.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/devlist.h"

enum { LIST_MAX = 256 * 1024, DEVICES_MAX = 256, KEYS_MAX = 256, ANSWER_MS = 10000 };

static const char *const type_names[KEY_TYPES] = {
	[KEY_TEXT] = "text",
	[KEY_PATH] = "path",
	[KEY_ROM] = "rom",
	[KEY_CHR] = "chr",
	[KEY_NET] = "net",
};

void devlist_free(struct devlist *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < l->ndevices; i++) {
		struct devlist_device *d = &l->device[i];

		for (unsigned k = 0; k < d->nkeys; k++) {
			free(d->key[k].name);
			free(d->key[k].help);
		}
		free(d->key);
		free(d->name);
		free(d->summary);
	}
	free(l->device);
	free(l);
}

const struct devlist_device *devlist_find(const struct devlist *l, const char *name)
{
	for (unsigned i = 0; i < l->ndevices; i++)
		if (!strcmp(l->device[i].name, name))
			return &l->device[i];
	return NULL;
}

const struct devlist_key *devlist_key(const struct devlist_device *d, const char *name)
{
	for (unsigned k = 0; k < d->nkeys; k++)
		if (!strcmp(d->key[k].name, name))
			return &d->key[k];
	return NULL;
}

const struct devlist_device *devlist_owner(const struct devlist *l, const char *key)
{
	const struct devlist_device *owner = NULL;

	for (unsigned i = 0; i < l->ndevices; i++) {
		if (l->device[i].pci || !devlist_key(&l->device[i], key))
			continue;
		if (owner)
			return NULL;
		owner = &l->device[i];
	}
	return owner;
}

/* Names go into messages and onto command lines: keep them plain. */
static bool plain(const char *s)
{
	if (!*s || strlen(s) > 40)
		return false;
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")] == 0;
}

static bool printable(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	return true;
}

static int add_device(struct devlist *l, const char *name, char *where, const char *summary)
{
	struct devlist_device *d = realloc(l->device, (l->ndevices + 1) * sizeof(*d));
	char *save = NULL, *word = strtok_r(where, ",", &save);

	if (!d)
		return -ENOMEM;
	l->device = d;
	if (!plain(name) || !printable(summary) || devlist_find(l, name) || l->ndevices >= DEVICES_MAX || !word)
		return -EPROTO;
	d += l->ndevices;
	*d = (struct devlist_device){ .pci = !strcmp(word, "pci"), .slot = -1, .func = -1 };
	if (!d->pci && strcmp(word, "lpc"))
		return -EPROTO;
	while ((word = strtok_r(NULL, ",", &save))) {
		if (!strcmp(word, "implied"))
			d->implied = true;
		else if (sscanf(word, "implied=%2d:%1d", &d->slot, &d->func) == 2)
			d->implied = true;
		/* other words: from a newer daemon */
	}
	if (d->implied && d->pci && (d->slot < 0 || d->slot > 31 || d->func < 0 || d->func > 7))
		return -EPROTO;
	d->name = strdup(name);
	d->summary = strdup(summary);
	l->ndevices++;
	return d->name && d->summary ? 0 : -ENOMEM;
}

static int add_key(struct devlist *l, const char *dev, const char *name, const char *type, const char *help)
{
	struct devlist_device *d = (struct devlist_device *)devlist_find(l, dev);
	struct devlist_key *k;
	unsigned t = 0;

	if (!d || !plain(name) || !printable(help) || devlist_key(d, name) || d->nkeys >= KEYS_MAX)
		return -EPROTO;
	while (t < KEY_TYPES && strcmp(type, type_names[t]))
		t++;
	if (t == KEY_TYPES)
		return -EPROTO;
	k = realloc(d->key, (d->nkeys + 1) * sizeof(*k));
	if (!k)
		return -ENOMEM;
	d->key = k;
	k += d->nkeys++;
	*k = (struct devlist_key){ .name = strdup(name), .help = strdup(help), .type = t };
	return k->name && k->help ? 0 : -ENOMEM;
}

static int parse_line(struct devlist *l, char *line)
{
	char *what = line, *where = strchr(line, '\t'), *text, *key;

	if (!where)
		return -EPROTO;
	*where++ = 0;
	text = strchr(where, '\t');
	if (!text)
		return -EPROTO;
	*text++ = 0;
	key = strchr(what, ' ');
	if (!key)
		return add_device(l, what, where, text);
	*key++ = 0;
	return add_key(l, what, key, where, text);
}

int devlist_parse(struct devlist **out, const char *text, size_t len, char *err, size_t errlen)
{
	struct devlist *l = calloc(1, sizeof(*l));
	char *copy = malloc(len + 1), *save = NULL;
	int ret = l && copy ? 0 : -ENOMEM;
	unsigned line = 0;

	*out = NULL;
	if (!ret) {
		memcpy(copy, text, len);
		copy[len] = 0;
		for (char *p = strtok_r(copy, "\n", &save); p && !ret; p = strtok_r(NULL, "\n", &save), line++)
			ret = parse_line(l, p);
		if (!ret && !l->ndevices)
			ret = -EPROTO;
	}
	free(copy);
	if (ret) {
		snprintf(err, errlen, "the device model's list of devices makes no sense (line %u): is it a cleaved of this version?", line);
		devlist_free(l);
		return ret;
	}
	*out = l;
	return 0;
}

static int read_all(int fd, char *buf, size_t max, size_t *len)
{
	struct timespec t;
	int64_t end, now;

	clock_gettime(CLOCK_MONOTONIC, &t);
	end = t.tv_sec * 1000ll + t.tv_nsec / 1000000 + ANSWER_MS;
	for (*len = 0; *len < max;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		clock_gettime(CLOCK_MONOTONIC, &t);
		now = t.tv_sec * 1000ll + t.tv_nsec / 1000000;
		if (now >= end)
			return -ETIMEDOUT;
		if (poll(&p, 1, end - now) < 1)
			continue;
		n = read(fd, buf + *len, max - *len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return 0;
		if (n > 0)
			*len += n;
	}
	return -EFBIG;
}

static pid_t spawn(int daemon_fd, int out)
{
	static char *const argv[] = { (char *)"cleaved", (char *)"--list-devices", NULL };
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0)
			_exit(126);
		execveat(daemon_fd, "", argv, environ, AT_EMPTY_PATH);
		_exit(127);
	}
	return pid;
}

int devlist_ask(struct devlist **out, int daemon_fd, char *err, size_t errlen)
{
	char *buf = malloc(LIST_MAX);
	int fd[2], status = 0, ret = buf ? 0 : -ENOMEM;
	size_t len = 0;
	pid_t pid;

	*out = NULL;
	if (ret || pipe2(fd, O_CLOEXEC) < 0) {
		ret = ret ? ret : -errno;
		snprintf(err, errlen, "cannot ask the device model for its devices: %s", strerror(-ret));
		free(buf);
		return ret;
	}
	pid = spawn(daemon_fd, fd[1]);
	ret = pid < 0 ? -errno : 0;
	close(fd[1]);
	if (!ret) {
		ret = read_all(fd[0], buf, LIST_MAX, &len);
		if (ret)
			kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	close(fd[0]);
	if (!ret && status) {
		ret = -EPROTO;
		snprintf(err, errlen, "the device model does not start: `cleaved --list-devices` ended with %s %d",
			 WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	} else if (ret) {
		snprintf(err, errlen, "cannot ask the device model for its devices: %s", strerror(-ret));
	} else {
		ret = devlist_parse(out, buf, len, err, errlen);
	}
	free(buf);
	return ret;
}
