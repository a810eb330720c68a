// Reads of mapped files that others may truncate. A read past the new end is SIGBUS, which ends the process: journald
// removes files that its readers have mapped, and libsystemd guards systemd's own programs alone.
// Source: systemd src/basic/sigbus.c, which does the same for them.
#pragma once

// Installs the handler of SIGBUS; once is enough, and before the first guard. 0 or a negative errno.
int petrel_fault_install(void);

// Between the two, on this thread: a read past the end of a mapped file finds zeros, and `end` returns 1: what was read
// is to be thrown away, and the mapping closed, since its next reads find zeros too. Guards do not nest. Any other
// SIGBUS goes where it went before the handler was installed; by default it ends the process.
void petrel_fault_begin(void);
int petrel_fault_end(void);
