// What becomes of memory that is not needed.
#pragma once

#include <malloc.h>

// Unmaps the pages of program text, this program's and its libraries'; those that are needed come back by themselves, from
// the page cache. The loader's lock is held meanwhile, so that no library goes, and no other memory comes into its place.
void petrel_give_text_back(void);
