/*
 * devmodel/sandbox.h - gives up what a device model does not need.
 */
#ifndef CLEAVE_DEVMODEL_SANDBOX_H
#define CLEAVE_DEVMODEL_SANDBOX_H

/*
 * Before anything hostile is read: no new privileges, no descriptors but 0-2
 * and `keep`, and this process ends when the one that started it does.  -errno.
 */
int sandbox_enter(int keep);

#endif
