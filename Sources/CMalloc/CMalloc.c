#define _GNU_SOURCE
#include "CMalloc.h"

#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static int give_back(struct dl_phdr_info *info, size_t size, void *page_mask) {
    (void)size;
    uintptr_t mask = *(uintptr_t *)page_mask;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        // Text alone: it is never written, so that nothing is lost.
        if (header->p_type != PT_LOAD || (header->p_flags & (PF_X | PF_W)) != PF_X) continue;
        uintptr_t start = info->dlpi_addr + header->p_vaddr;
        uintptr_t first = start & ~mask;
        madvise((void *)first, start - first + header->p_memsz, MADV_DONTNEED);
    }
    return 0;
}

void petrel_give_text_back(void) {
    uintptr_t mask = (uintptr_t)getpagesize() - 1;
    dl_iterate_phdr(give_back, &mask);
}
