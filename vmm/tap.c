/*
 * vmm/tap.c - TUN/TAP: Documentation/networking/tuntap.rst, netdevice(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/netframe.h"
#include "vmm/tap.h"

static const char device[] = "/dev/net/tun";

static int no_device(char *err, size_t errlen)
{
	int error = errno;

	snprintf(err, errlen, "cannot open %s: %s%s", device, strerror(error),
		 error == ENOENT || error == ENODEV || error == ENXIO ? " (modprobe tun)" : error == EACCES ? " (who may is in its mode)" : "");
	return -error;
}

static int refused(const char *name, int error, char *err, size_t errlen)
{
	if (error == EPERM)
		snprintf(err, errlen, "the interface %s is not yours to use: as root, ip tuntap add dev %s mode tap user %d",
			 *name ? name : "tap0", *name ? name : "tap0", (int)geteuid());
	else if (error == EBUSY)
		snprintf(err, errlen, "the interface %s is in use by another process", name);
	else if (error == EINVAL)
		snprintf(err, errlen, "%s is no tap interface (ip tuntap lists them)", name);
	else
		snprintf(err, errlen, "the interface %s cannot be used: %s", *name ? name : "tap", strerror(error));
	return -error;
}

/* One with several queues serves one as well, if asked so. */
static int attach(int fd, struct ifreq *ifr)
{
	static const short flags[] = { 0, IFF_MULTI_QUEUE };

	for (unsigned i = 0; i < 2; i++) {
		ifr->ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags[i];
		if (!ioctl(fd, TUNSETIFF, ifr))
			return 0;
		if (errno != EINVAL)
			break;
	}
	return -errno;
}

/* Frames reach nobody through an interface that is down; it may be set up later. */
static void warn_down(const struct ifreq *ifr)
{
	struct ifreq ask = *ifr;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (!ioctl(fd, SIOCGIFFLAGS, &ask) && !(ask.ifr_flags & IFF_UP))
		fprintf(stderr, "cleave: the interface %s is down: ip link set %s up\n", ifr->ifr_name, ifr->ifr_name);
	close(fd);
}

int tap_open(char name[TAP_NAME], char *err, size_t errlen)
{
	int fd = open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC), size = sizeof(struct net_vnet), ret;
	struct ifreq ifr = { 0 };

	if (fd < 0)
		return no_device(err, errlen);
	memcpy(ifr.ifr_name, name, IFNAMSIZ);
	ret = attach(fd, &ifr);
	if (ret) {
		refused(name, -ret, err, errlen);
	} else if (ioctl(fd, TUNSETVNETHDRSZ, &size) || ioctl(fd, TUNSETOFFLOAD, 0)) {
		ret = -errno;
		snprintf(err, errlen, "the interface %s cannot be used: %s", ifr.ifr_name, strerror(errno));
	}
	if (ret) {
		close(fd);
		return ret;
	}
	memcpy(name, ifr.ifr_name, IFNAMSIZ);
	warn_down(&ifr);
	return fd;
}
