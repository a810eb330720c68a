// Headers of the C library and the kernel that Swift's Glibc module leaves out.
#pragma once

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/timex.h>

// `adjtimex` of sys/timex.h, under a name that no module hides.
int petrel_adjtimex(struct timex *facts);
