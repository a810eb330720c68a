#include "bus.h"
#include "loader.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// sd_bus_error of systemd/sd-bus.h.
struct bus_error {
    const char *name;
    const char *message;
    int need_free;
};

static struct {
    int (*new)(void **);
    int (*set_address)(void *, const char *);
    int (*set_bus_client)(void *, int);
    int (*start)(void *);
    int (*is_ready)(void *);
    int (*process)(void *, void **);
    int (*wait)(void *, uint64_t);
    void (*close)(void *);
    void *(*unref)(void *);
    int (*call)(void *, void *, uint64_t, struct bus_error *, void **);
    void (*error_free)(struct bus_error *);
    int (*message_new_method_call)(
        void *, void **, const char *, const char *, const char *, const char *);
    int (*message_set_auto_start)(void *, int);
    int (*message_append)(void *, const char *, ...);
    int (*message_enter_container)(void *, char, const char *);
    int (*message_peek_type)(void *, char *, const char **);
    int (*message_read)(void *, const char *, ...);
    int (*message_read_basic)(void *, char, void *);
    void *(*message_unref)(void *);
} table;

static char failure[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    void *library = petrel_open_systemd(failure, sizeof failure);
    if (!library) return;
#define RESOLVE(name)                                                                              \
    if (!petrel_resolve(library, "sd_bus_" #name, &table.name, failure, sizeof failure)) return
    RESOLVE(new);
    RESOLVE(set_address);
    RESOLVE(set_bus_client);
    RESOLVE(start);
    RESOLVE(is_ready);
    RESOLVE(process);
    RESOLVE(wait);
    RESOLVE(close);
    RESOLVE(unref);
    RESOLVE(call);
    RESOLVE(error_free);
    RESOLVE(message_new_method_call);
    RESOLVE(message_set_auto_start);
    RESOLVE(message_append);
    RESOLVE(message_enter_container);
    RESOLVE(message_peek_type);
    RESOLVE(message_read);
    RESOLVE(message_read_basic);
    RESOLVE(message_unref);
#undef RESOLVE
}

const char *petrel_bus_load(void) {
    pthread_once(&once, load);
    return failure[0] ? failure : NULL;
}

struct connection {
    void *bus;
    void *reply;
    uint64_t call_microseconds;
    // Of the monotonic clock.
    uint64_t deadline;
};

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static void drop_reply(struct connection *connection) {
    if (connection->reply) table.message_unref(connection->reply);
    connection->reply = NULL;
}

// sd_bus_call waits without a bound for a bus that doesn't greet; this doesn't.
static int greet(struct connection *connection) {
    uint64_t deadline = now() + connection->call_microseconds;
    for (;;) {
        int code = table.is_ready(connection->bus);
        if (code) return code;
        code = table.process(connection->bus, NULL);
        if (code < 0) return code;
        if (code > 0) continue;
        uint64_t time = now();
        if (time >= deadline) return -ETIMEDOUT;
        code = table.wait(connection->bus, deadline - time);
        if (code < 0 && code != -EINTR) return code;
    }
}

int petrel_bus_open(void **handle, const char *address, uint64_t call_microseconds) {
    if (petrel_bus_load()) return -ENOSYS;
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection) return -ENOMEM;
    connection->call_microseconds = call_microseconds;
    int code = table.new(&connection->bus);
    if (code >= 0) code = table.set_address(connection->bus, address);
    if (code >= 0) code = table.set_bus_client(connection->bus, 1);
    if (code >= 0) code = table.start(connection->bus);
    if (code >= 0) code = greet(connection);
    if (code < 0) {
        petrel_bus_close(connection);
        return code;
    }
    *handle = connection;
    return 0;
}

void petrel_bus_close(void *handle) {
    struct connection *connection = handle;
    drop_reply(connection);
    if (connection->bus) {
        table.close(connection->bus);
        table.unref(connection->bus);
    }
    free(connection);
}

int petrel_bus_begin(void *handle, uint64_t microseconds) {
    // More than this at once is no chance arrival; a new connection is rid of it.
    enum { UNASKED_MAX = 1024 };
    struct connection *connection = handle;
    drop_reply(connection);
    connection->deadline = now() + microseconds;
    for (int count = 0; count < UNASKED_MAX; count++) {
        int code = table.process(connection->bus, NULL);
        if (code < 0) return code;
        if (code == 0) return table.is_ready(connection->bus) > 0 ? 0 : -ENOTCONN;
    }
    return -ENOBUFS;
}

// Whether it is the service's answer that there is no such thing, or none for this caller. Not what the bus says where
// the service is away, and not what libsystemd says where the connection is.
static int is_absent(const char *name) {
    static const char *const names[] = {
        "UnknownObject", "UnknownInterface", "UnknownProperty", "UnknownMethod", "AccessDenied",
        "InvalidArgs",   "NotSupported",     "FileNotFound",    "Failed",
    };
    static const char standard[] = "org.freedesktop.DBus.Error.";
    if (!name) return 0;
    if (strncmp(name, "org.freedesktop.systemd1.", 25) == 0) return 1;
    if (strncmp(name, standard, sizeof standard - 1) != 0) return 0;
    for (size_t index = 0; index < sizeof names / sizeof *names; index++)
        if (strcmp(name + sizeof standard - 1, names[index]) == 0) return 1;
    return 0;
}

// 1 and the reply in `connection->reply`, 0 where what is asked for is absent. Consumes `message`.
static int call(struct connection *connection, void *message) {
    uint64_t time = now();
    uint64_t left = time < connection->deadline ? connection->deadline - time : 0;
    if (left > connection->call_microseconds) left = connection->call_microseconds;
    int code = -ETIMEDOUT;
    if (left > 0) {
        struct bus_error error = {NULL, NULL, 0};
        // Nothing is started for a question.
        code = table.message_set_auto_start(message, 0);
        if (code >= 0)
            code = table.call(connection->bus, message, left, &error, &connection->reply);
        if (code < 0 && is_absent(error.name)) code = 0;
        else if (code >= 0) code = 1;
        table.error_free(&error);
    }
    table.message_unref(message);
    return code;
}

int petrel_bus_list_units(void *handle) {
    struct connection *connection = handle;
    void *message = NULL;
    drop_reply(connection);
    int code = table.message_new_method_call(
        connection->bus, &message, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager", "ListUnits");
    if (code < 0) return code;
    code = call(connection, message);
    if (code <= 0) return code < 0 ? code : -EACCES;
    code = table.message_enter_container(connection->reply, 'a', "(ssssssouso)");
    return code < 0 ? code : 0;
}

int petrel_bus_next_unit(void *handle, struct petrel_bus_unit *unit) {
    struct connection *connection = handle;
    const char *description, *followed, *job_type, *job_path;
    uint32_t job;
    if (!connection->reply) return -ENODATA;
    return table.message_read(
        connection->reply, "(ssssssouso)", &unit->name, &description, &unit->load_state,
        &unit->active_state, &unit->sub_state, &followed, &unit->path, &job, &job_type, &job_path);
}

// 1 and the reply's variant entered and its type, or as `call`.
static int get(
    struct connection *connection, const char *service, const char *path, const char *interface,
    const char *property, char *type) {
    void *message = NULL;
    const char *contents = NULL;
    drop_reply(connection);
    int code = table.message_new_method_call(
        connection->bus, &message, service, path, "org.freedesktop.DBus.Properties", "Get");
    if (code < 0) return code;
    code = table.message_append(message, "ss", interface, property);
    if (code < 0) {
        table.message_unref(message);
        return code;
    }
    code = call(connection, message);
    if (code <= 0) return code;
    code = table.message_peek_type(connection->reply, type, &contents);
    if (code < 0) return code;
    if (code == 0 || *type != 'v' || !contents || strlen(contents) != 1) return -EBADMSG;
    *type = contents[0];
    code = table.message_enter_container(connection->reply, 'v', contents);
    return code < 0 ? code : 1;
}

int petrel_bus_number(
    void *handle, const char *service, const char *path, const char *interface, const char *property,
    uint64_t *value) {
    struct connection *connection = handle;
    char type = 0;
    uint32_t word = 0;
    int truth = 0;
    int code = get(connection, service, path, interface, property, &type);
    if (code <= 0) return code;
    switch (type) {
    case 't':
        return table.message_read_basic(connection->reply, type, value);
    case 'u':
        code = table.message_read_basic(connection->reply, type, &word);
        *value = word;
        return code;
    case 'b':
        code = table.message_read_basic(connection->reply, type, &truth);
        *value = truth != 0;
        return code;
    default:
        return -EBADMSG;
    }
}

int petrel_bus_text(
    void *handle, const char *service, const char *path, const char *interface, const char *property,
    const char **value) {
    struct connection *connection = handle;
    char type = 0;
    int code = get(connection, service, path, interface, property, &type);
    if (code <= 0) return code;
    if (type != 's' && type != 'o') return -EBADMSG;
    return table.message_read_basic(connection->reply, type, value);
}
