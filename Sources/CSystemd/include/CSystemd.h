// What the agent uses of libsystemd.
#pragma once

#include "bus.h"
#include "fault.h"
#include "journal.h"
