#ifndef CSPAWN_H
#define CSPAWN_H

#include <spawn.h>

/// Has the child close every descriptor from `first` on before it becomes the program. Returns 0 or an errno.
/// glibc 2.34; Swift's view of the C library hides it, for it is no part of POSIX.
int petrel_spawn_close_from(posix_spawn_file_actions_t *actions, int first);

#endif
