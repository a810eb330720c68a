// The part of libsystemd's bus API that the agent uses, opened at run time as the journal's: calls to services on a
// D-Bus, nothing is offered there.
// Declarations follow sd-bus(3), sd_bus_new(3), sd_bus_set_address(3), sd_bus_call(3), sd_bus_message_read(3).
#pragma once

#include <stdint.h>

// NULL when libsystemd is loaded, otherwise why it is not. The first call loads it; the text lives for ever.
const char *petrel_bus_load(void);

// A connection belongs to one thread at a time. Functions return 0 or more, or a negative errno; -ENOSYS where
// libsystemd is not loaded. After an error other than of `open` the caller closes the connection.
// `address` is a D-Bus address such as unix:path=/run/dbus/system_bus_socket. `call_microseconds` bounds the connecting
// and each call: -ETIMEDOUT.
int petrel_bus_open(void **handle, const char *address, uint64_t call_microseconds);
void petrel_bus_close(void *handle);
// Drops what came unasked and gives the calls that follow `microseconds` together; a call beyond them is -ETIMEDOUT.
// Negative where the connection is gone.
int petrel_bus_begin(void *handle, uint64_t microseconds);

// A row of systemd's ListUnits. The texts live until the next call that takes the connection, petrel_bus_next_unit
// excepted.
struct petrel_bus_unit {
    const char *name;
    const char *load_state;
    const char *active_state;
    const char *sub_state;
    const char *path;
};
// Asks for the units; then `next_unit` gives 1 and a row, or 0 after the last.
int petrel_bus_list_units(void *handle);
int petrel_bus_next_unit(void *handle, struct petrel_bus_unit *unit);

// One property: 1 and its value; 0 where the service says that it has no such object or property, or doesn't show it.
// Numbers are of the types t, u and b; -EBADMSG where the property is of another.
int petrel_bus_number(
    void *handle, const char *service, const char *path, const char *interface, const char *property,
    uint64_t *value);
// The text lives until the next call that takes the connection.
int petrel_bus_text(
    void *handle, const char *service, const char *path, const char *interface, const char *property,
    const char **value);
