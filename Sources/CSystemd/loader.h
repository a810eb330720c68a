// libsystemd and its functions, found at run time. What fails is written to `failure`, of `size` bytes.
#pragma once

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

// NULL where the library can't be opened.
static inline void *petrel_open_systemd(char *failure, size_t size) {
    void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *reason = dlerror();
        snprintf(failure, size, "%s", reason ? reason : "libsystemd.so.0 can't be opened");
    }
    return library;
}

// 1 and the function's address in `slot`, or 0.
static inline int petrel_resolve(
    void *library, const char *name, void *slot, char *failure, size_t size) {
    void *symbol = dlsym(library, name);
    if (!symbol) {
        snprintf(failure, size, "libsystemd.so.0 lacks %s", name);
        return 0;
    }
    memcpy(slot, &symbol, sizeof symbol);
    return 1;
}
