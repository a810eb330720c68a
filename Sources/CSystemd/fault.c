#define _GNU_SOURCE
#include "fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

// The handler may not allocate: the model keeps these in the block that each thread has from its start.
static _Thread_local __attribute__((tls_model("initial-exec"))) volatile sig_atomic_t guarded;
static _Thread_local __attribute__((tls_model("initial-exec"))) volatile sig_atomic_t faulted;

static struct sigaction previous;
static uintptr_t page_size;
static int installed = -EAGAIN;
static pthread_once_t once = PTHREAD_ONCE_INIT;

// What would have happened without this handler.
static void pass_on(int number, siginfo_t *info, void *context) {
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(number, info, context);
        return;
    }
    // A signal that a process sent has a code of 0 or less.
    int is_sent = info->si_code <= 0;
    if (previous.sa_handler == SIG_IGN && is_sent) return;
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(number);
        return;
    }
    // A fault comes again at its own instruction and address, and a sent signal is delivered once this one ends.
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigemptyset(&standard.sa_mask);
    sigaction(number, &standard, NULL);
    if (is_sent) raise(number);
}

static void handle(int number, siginfo_t *info, void *context) {
    int saved = errno;
    if (guarded && info->si_code == BUS_ADRERR) {
        void *page = (void *)((uintptr_t)info->si_addr & ~(page_size - 1));
        // The mapping's end stays as it is: whoever unmaps it takes this page along.
        if (mmap(page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page) {
            faulted = 1;
            errno = saved;
            return;
        }
    }
    pass_on(number, info, context);
    errno = saved;
}

static void install(void) {
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (sigaction(SIGBUS, NULL, &previous) < 0) {
        installed = -errno;
        return;
    }
    // The mask and the stack of the handler before, so that it runs as it did.
    struct sigaction action = {
        .sa_sigaction = handle,
        .sa_mask = previous.sa_mask,
        .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | (previous.sa_flags & SA_NODEFER),
    };
    installed = sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

int petrel_fault_install(void) {
    pthread_once(&once, install);
    return installed;
}

void petrel_fault_begin(void) {
    faulted = 0;
    guarded = 1;
}

int petrel_fault_end(void) {
    guarded = 0;
    return faulted;
}
