// What the agent uses of libsystemd.
#pragma once

#include "bus.h"
#include "journal.h"
