/*
 * sandbox.c - gives up privileges (prctl(2)).
 *
 * The engine closed every descriptor but 0-3 at exec; what arrives over the
 * socket is all that this process will ever have.
 */
#include "devmodel/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

int sandbox_enter(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	return getppid() == 1 ? -ESRCH : 0;
}
