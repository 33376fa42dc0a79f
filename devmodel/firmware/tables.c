/*
 * tables.c - from machine and keys to tables (tables.h).
 */
#include "devmodel/firmware/tables.h"

#include <errno.h>
#include <string.h>

#include "devmodel/machine.h"

bool tables_wanted(struct dev *d)
{
	const char *acpi = dev_conf(d, "acpi");

	return machine_dev(d->m, "piix4pm") && (!acpi || strcmp(acpi, "off"));
}

int tables_acpi(struct acpi *t, struct dev *d, uint16_t pm_base)
{
	struct board b;
	int err;

	board_read(&b, d->m);
	b.pm_base = pm_base;
	err = acpi_build(t, &b);
	if (err)
		dev_error(d, "the ACPI tables do not fit: too many processors");
	return err;
}

int tables_smbios(struct smbios *t, struct dev *d)
{
	const char *string[SMBIOS_STRINGS];
	enum smbios_string bad = 0;
	struct board b;
	int err;

	for (unsigned i = 0; i < SMBIOS_STRINGS; i++)
		string[i] = dev_conf(d, smbios_default[i].key);
	board_read(&b, d->m);
	err = smbios_build(t, &b, string, &bad);
	if (err == -EINVAL)
		dev_error(d, "%s: at most %d printable ASCII characters are possible", smbios_default[bad].key, SMBIOS_STRING_MAX);
	else if (err)
		dev_error(d, "the SMBIOS strings are too long together");
	return err;
}
