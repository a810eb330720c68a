#ifndef CGLIBC_H
#define CGLIBC_H

#include <spawn.h>
#include <sys/types.h>

// What glibc has beyond POSIX: Swift's view of the C library hides it.

/// Has the child close every descriptor from `first` on before it becomes the program. Returns 0 or an errno.
/// glibc 2.34.
int petrel_spawn_close_from(posix_spawn_file_actions_t *actions, int first);

/// Takes space on the disk for the first `size` bytes of a file whose length stays as it is. Returns 0 or an errno.
/// Linux 2.6.23.
int petrel_take_space(int file, off_t size);

#endif
