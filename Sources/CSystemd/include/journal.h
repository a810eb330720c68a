// The part of libsystemd's journal API that the agent uses, opened at run time: a host without systemd runs the agent
// all the same, and one with it pays for the library only when there is a journal to read.
// Declarations follow sd-journal(3), sd_journal_open(3), sd_journal_next(3), sd_journal_get_data(3), sd_journal_wait(3).
#pragma once

#include <stddef.h>
#include <stdint.h>

// NULL when libsystemd is loaded, otherwise why it is not. The first call loads it; the text lives for ever.
const char *petrel_journal_load(void);

// A handle belongs to one thread at a time. Functions return 0 or more, or a negative errno; -ENOSYS where libsystemd
// is not loaded. `directory` NULL opens this machine's journal.
int petrel_journal_open(void **handle, const char *directory);
void petrel_journal_close(void *handle);
int petrel_journal_set_data_threshold(void *handle, size_t bytes);
// 1 where there is an entry, 0 at the end.
int petrel_journal_next(void *handle);
int petrel_journal_previous(void *handle);
int petrel_journal_seek_head(void *handle);
int petrel_journal_seek_tail(void *handle);
int petrel_journal_seek_cursor(void *handle, const char *cursor);
int petrel_journal_seek_realtime(void *handle, uint64_t microseconds);
// 1 where the current entry has this cursor.
int petrel_journal_test_cursor(void *handle, const char *cursor);
// The caller frees `*cursor`.
int petrel_journal_get_cursor(void *handle, char **cursor);
int petrel_journal_get_realtime(void *handle, uint64_t *microseconds);
void petrel_journal_restart_data(void *handle);
// 1 and the next field as `NAME=value`, valid until the next call; 0 after the last. Passes over fields that can't be
// decompressed where libsystemd can (version 246 and later).
int petrel_journal_enumerate_data(void *handle, const void **data, size_t *length);
// 0: nothing happened, 1: entries were appended, 2: files came or went.
int petrel_journal_wait(void *handle, uint64_t microseconds);

// Writes the paths of journal files that exist and may not be read by this process to `paths`, a line each, as many as
// fit `size` bytes with the end; the rest are left out. `directory` as in `petrel_journal_open`.
void petrel_journal_unreadable(const char *directory, char *paths, size_t size);

// Gives the pages of all mapped *.journal files back to the kernel. libsystemd maps windows of 8 MiB and keeps them:
// reading 90 MB of journal without this ends at 75 MiB resident, with it at 10. The mappings are shared and read-only,
// so nothing is lost; pages are read again when touched.
void petrel_journal_release_mappings(void);
