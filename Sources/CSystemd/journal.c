#define _GNU_SOURCE
#include "journal.h"
#include "loader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
    // Version 246 and later.
    void *available = dlsym(library, "sd_journal_enumerate_available_data");
    if (available) memcpy(&table.enumerate_data, &available, sizeof available);
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

// Appends a path and a line feed to `paths` where there is room for all of it.
static void note_path(char *paths, size_t size, const char *path) {
    size_t used = strlen(paths), length = strlen(path);
    if (used + length + 2 > size) return;
    memcpy(paths + used, path, length);
    memcpy(paths + used + length, "\n", 2);
}

static int is_journal(const char *name) {
    const char *end = strrchr(name, '.');
    return end && (!strcmp(end, ".journal") || !strcmp(end, ".journal~"));
}

// Looks at the files of a folder, and where `depth` says so of the folders in it.
static void note_unreadable(const char *folder, int depth, char *paths, size_t size) {
    DIR *entries = opendir(folder);
    if (!entries) {
        if (errno == EACCES) note_path(paths, size, folder);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(entries))) {
        char path[4096];
        if (entry->d_name[0] == '.') continue;
        int length = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (length < 0 || (size_t)length >= sizeof path) continue;
        if (is_journal(entry->d_name)) {
            // Files that went meanwhile are no fault.
            if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0 && errno == EACCES) {
                note_path(paths, size, path);
            }
        } else if (depth > 0 && (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)) {
            note_unreadable(path, depth - 1, paths, size);
        }
    }
    closedir(entries);
}

void petrel_journal_unreadable(const char *directory, char *paths, size_t size) {
    if (size == 0) return;
    paths[0] = 0;
    if (directory) {
        note_unreadable(directory, 1, paths, size);
        return;
    }
    // What sd_journal_open reads: the folders of this machine's id.
    char id[33] = "";
    FILE *file = fopen("/etc/machine-id", "re");
    if (!file) return;
    int count = fscanf(file, "%32[0-9a-f]", id);
    fclose(file);
    if (count != 1) return;
    const char *const roots[] = {"/var/log/journal", "/run/log/journal"};
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++) {
        char folder[64];
        snprintf(folder, sizeof folder, "%s/%s", roots[i], id);
        note_unreadable(folder, 0, paths, size);
    }
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
