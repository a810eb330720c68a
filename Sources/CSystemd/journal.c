#define _GNU_SOURCE
#include "journal.h"
#include "loader.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// SD_JOURNAL_LOCAL_ONLY of systemd/sd-journal.h.
enum { LOCAL_ONLY = 1 };

static struct {
    int (*open)(void **, int);
    int (*open_directory)(void **, const char *, int);
    void (*close)(void *);
    int (*set_data_threshold)(void *, size_t);
    int (*next)(void *);
    int (*previous)(void *);
    int (*seek_head)(void *);
    int (*seek_tail)(void *);
    int (*seek_cursor)(void *, const char *);
    int (*seek_realtime_usec)(void *, uint64_t);
    int (*test_cursor)(void *, const char *);
    int (*get_cursor)(void *, char **);
    int (*get_realtime_usec)(void *, uint64_t *);
    void (*restart_data)(void *);
    int (*enumerate_data)(void *, const void **, size_t *);
    int (*wait)(void *, uint64_t);
} table;

static char failure[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    void *library = petrel_open_systemd(failure, sizeof failure);
    if (!library) return;
#define RESOLVE(name)                                                                              \
    if (!petrel_resolve(library, "sd_journal_" #name, &table.name, failure, sizeof failure)) return
    RESOLVE(open);
    RESOLVE(open_directory);
    RESOLVE(close);
    RESOLVE(set_data_threshold);
    RESOLVE(next);
    RESOLVE(previous);
    RESOLVE(seek_head);
    RESOLVE(seek_tail);
    RESOLVE(seek_cursor);
    RESOLVE(seek_realtime_usec);
    RESOLVE(test_cursor);
    RESOLVE(get_cursor);
    RESOLVE(get_realtime_usec);
    RESOLVE(restart_data);
    RESOLVE(enumerate_data);
    RESOLVE(wait);
#undef RESOLVE
}

const char *petrel_journal_load(void) {
    pthread_once(&once, load);
    return failure[0] ? failure : NULL;
}

int petrel_journal_open(void **handle, const char *directory) {
    if (petrel_journal_load()) return -ENOSYS;
    return directory ? table.open_directory(handle, directory, 0) : table.open(handle, LOCAL_ONLY);
}

void petrel_journal_close(void *handle) { table.close(handle); }
int petrel_journal_set_data_threshold(void *handle, size_t bytes) {
    return table.set_data_threshold(handle, bytes);
}
int petrel_journal_next(void *handle) { return table.next(handle); }
int petrel_journal_previous(void *handle) { return table.previous(handle); }
int petrel_journal_seek_head(void *handle) { return table.seek_head(handle); }
int petrel_journal_seek_tail(void *handle) { return table.seek_tail(handle); }
int petrel_journal_seek_cursor(void *handle, const char *cursor) {
    return table.seek_cursor(handle, cursor);
}
int petrel_journal_seek_realtime(void *handle, uint64_t microseconds) {
    return table.seek_realtime_usec(handle, microseconds);
}
int petrel_journal_test_cursor(void *handle, const char *cursor) {
    return table.test_cursor(handle, cursor);
}
int petrel_journal_get_cursor(void *handle, char **cursor) {
    return table.get_cursor(handle, cursor);
}
int petrel_journal_get_realtime(void *handle, uint64_t *microseconds) {
    return table.get_realtime_usec(handle, microseconds);
}
void petrel_journal_restart_data(void *handle) { table.restart_data(handle); }
int petrel_journal_enumerate_data(void *handle, const void **data, size_t *length) {
    return table.enumerate_data(handle, data, length);
}
int petrel_journal_wait(void *handle, uint64_t microseconds) {
    return table.wait(handle, microseconds);
}

void petrel_journal_release_mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps) return;
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, maps) > 0) {
        unsigned long from, to;
        char rights[5];
        if (!strstr(line, ".journal") || sscanf(line, "%lx-%lx %4s", &from, &to, rights) != 3) continue;
        // Only shared read-only mappings: dropping pages of any other kind would lose data.
        if (rights[0] != 'r' || rights[1] != '-' || rights[3] != 's') continue;
        madvise((void *)from, to - from, MADV_DONTNEED);
    }
    free(line);
    fclose(maps);
}
