/*
 * devmodel/firmware/direct.h - what firmware does, for a machine that has none.
 */
#ifndef CLEAVE_DEVMODEL_FIRMWARE_DIRECT_H
#define CLEAVE_DEVMODEL_FIRMWARE_DIRECT_H

struct machine;

/*
 * Assigns BARs, interrupt routing, the ACPI registers; makes C0000h-FFFFFh
 * RAM and puts tables there (proto/direct.h).  Every function is as after
 * reset.  Inside a transaction.  0, or -errno after dev_error().
 */
int firmware_direct(struct machine *);

#endif
