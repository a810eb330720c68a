#define _GNU_SOURCE
#include "CGlibc.h"

#include <errno.h>
#include <fcntl.h>

int petrel_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

int petrel_take_space(int file, off_t size) {
    return fallocate(file, FALLOC_FL_KEEP_SIZE, 0, size) == 0 ? 0 : errno;
}
