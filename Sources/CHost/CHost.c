#include "CHost.h"

int petrel_adjtimex(struct timex *facts) { return adjtimex(facts); }
