"""A fleet's metrics by a model: five hosts of about 1,500 series, a sample every 15 s. Needs numpy.

The same numbers in every process. What matters to a store is in it: two series of five never change, counters are
integers, hundredths or thousandths, memory comes in pages, durations use all bits of a double, and load swings by day.
"""
import itertools

import numpy as np

STEP_MS = 15_000
HOSTS = 5
SERIES = 1_500

CPUS = [str(n) for n in range(4)]
BOUNDS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
# The share of observations in each bucket.
SHARES = np.array([.02, .05, .12, .18, .22, .2, .1, .06, .03, .015, .004, .001])


# Shapes: how the series of one kind go on. `size` is a column of one number a series, `swing` says by how much a day's
# load changes each step.

class Shape:
    def __init__(self, rows, sizes, rng):
        self.rows, self.size, self.rng = np.array(rows), np.array(sizes, float)[:, None], rng
        self.state = self.first()

    def first(self):
        return np.zeros(len(self.rows))

    def more(self, increments):
        """Sums on top of what was before."""
        total = self.state[:, None] + np.cumsum(increments, axis=1)
        self.state = total[:, -1]
        return total


class Steady(Shape):
    def next(self, seconds, swing):
        return np.broadcast_to(self.size, (len(self.rows), len(seconds)))


class Flag(Shape):
    """1, but for `size` of the samples."""

    def next(self, seconds, swing):
        return (self.rng.random((len(self.rows), len(seconds))) >= self.size).astype(float)


class Counter(Shape):
    """Grows by about `size` a second, counted in parts of 1 / `divisor`."""
    divisor = 1

    def first(self):
        return np.floor(self.rng.random(len(self.rows)) * 1e6 * np.maximum(1, self.size[:, 0]) * self.divisor)

    def next(self, seconds, swing):
        mean = self.size * (STEP_MS / 1000) * self.divisor * swing
        spread = 1 + .35 * self.rng.standard_normal((len(self.rows), len(seconds)))
        return self.more(np.maximum(0, np.rint(mean * spread))) / self.divisor


class Hundredths(Counter):
    divisor = 100


class Thousandths(Counter):
    divisor = 1000


class Nanoseconds(Counter):
    divisor = 10**9


class Sectors(Counter):
    """Bytes on a disk: 512 at a time, in bursts."""

    def next(self, seconds, swing):
        burst = np.exp(.8 * self.rng.standard_normal((len(self.rows), len(seconds))))
        return self.more(np.rint(self.size * swing * burst)) * 512


class Seldom(Counter):
    """Grows in `size` of the steps."""

    def next(self, seconds, swing):
        shape = (len(self.rows), len(seconds))
        return self.more((self.rng.random(shape) < self.size) * self.rng.integers(1, 6, shape))


class Level(Shape):
    """Wanders about `size` in whole units."""
    unit, stride = 1, 2.0

    def first(self):
        return np.rint(self.size[:, 0] / self.unit)

    def next(self, seconds, swing):
        shape = (len(self.rows), len(seconds))
        moves = np.rint(self.stride * self.rng.standard_normal(shape)) * (self.rng.random(shape) < .7)
        home, level = np.rint(self.size[:, 0] / self.unit), self.state
        columns = []
        for step in range(len(seconds)):
            level = np.maximum(0, np.rint(home + (level - home) * .999 + moves[:, step]))
            columns.append(level)
        self.state = level
        return np.stack(columns, axis=1) * self.unit


class Pages(Level):
    unit, stride = 4096, 45.0


class Load(Shape):
    """Two decimals."""

    def next(self, seconds, swing):
        noise = .12 * self.rng.standard_normal((len(self.rows), len(seconds)))
        return np.round(np.maximum(0, self.size * swing + noise), 2)


class Noise(Shape):
    """All bits of a double."""

    def next(self, seconds, swing):
        return self.size * np.exp(.3 * self.rng.standard_normal((len(self.rows), len(seconds))))


class Queue(Shape):
    """Small numbers, 0 most of the time."""

    def next(self, seconds, swing):
        return self.rng.poisson(self.size * swing, (len(self.rows), len(seconds))).astype(float)


class Clock(Shape):
    """The time itself, in microseconds."""

    def next(self, seconds, swing):
        return np.round(seconds[None, :] + self.rng.random((len(self.rows), 1)) * .001, 6)


class Histogram(Shape):
    """Classic histograms of `size` observations a second: the buckets of `BOUNDS`, the sum, the count, in this order."""
    members = len(BOUNDS) + 2

    def first(self):
        counts = self.size[::self.members] * 1e5 * SHARES
        first = np.zeros((len(counts), self.members))
        first[:, :-2] = np.cumsum(np.floor(counts), axis=1)
        first[:, -2], first[:, -1] = first[:, -3] * .08, first[:, -3]
        return first

    def next(self, seconds, swing):
        means = self.size[::self.members, :, None] * (STEP_MS / 1000) * SHARES[None, :, None] * swing
        fallen = self.rng.poisson(means)
        below = np.cumsum(fallen, axis=1)
        spread = .08 * (1 + .1 * self.rng.standard_normal((len(below), 1, len(seconds))))
        steps = np.concatenate([below, below[:, -1:] * spread, below[:, -1:]], axis=1)
        total = self.state[:, :, None] + np.cumsum(steps, axis=2)
        self.state = total[:, :, -1]
        return total.reshape(-1, len(seconds))


# The catalogue: (job, names, shape, size, labels), a series for each name and combination of the labels' values.

def names(prefix, words, suffix=""):
    return [prefix + word + suffix for word in words.split()]


def numbered(prefix, count, width=2):
    return [f"{prefix}{n:0{width}}" for n in range(count)]


def exporters():
    for job in ("node", "postgres", "redis", "app", "blackbox"):
        yield job, ["up"], Flag, .0001, {}
        yield job, ["scrape_duration_seconds"], Noise, .02, {}
        yield job, ["scrape_samples_scraped"], Steady, 300, {}
    for job in ("node", "postgres", "app"):
        yield job, ["process_cpu_seconds_total"], Hundredths, .01, {}
        yield job, ["process_resident_memory_bytes"], Pages, 4e7, {}
        yield job, ["process_virtual_memory_bytes"], Steady, 1.2e9, {}
        yield job, ["process_open_fds", "go_goroutines"], Level, 20, {}
        yield job, ["process_max_fds"], Steady, 65536, {}
        yield job, ["process_start_time_seconds"], Steady, 1.79e9, {}
        yield job, ["go_gc_duration_seconds"], Noise, 1e-4, {"quantile": ["0", "0.25", "0.5", "0.75", "1"]}
        yield job, names("go_memstats_", "alloc heap_alloc heap_inuse stack_inuse sys next_gc", "_bytes"), Level, 4e6, \
            {}
        yield job, names("go_memstats_", "mallocs frees lookups gc_cycles", "_total"), Counter, 900, {}


def node():
    devices, mounts = ["vda", "vdb"], ["/", "/boot/efi", "/srv", "/var/lib/docker", "/run"]
    modes = {"user": .08, "system": .03, "idle": .86, "iowait": .01, "steal": .01, "softirq": .005}
    for mode, share in modes.items():
        yield "node", ["node_cpu_seconds_total"], Hundredths, share, {"cpu": CPUS, "mode": [mode]}
    yield "node", ["node_cpu_seconds_total"], Steady, 0, {"cpu": CPUS, "mode": ["nice", "irq"]}
    yield "node", ["node_cpu_guest_seconds_total"], Steady, 0, {"cpu": CPUS, "mode": ["user", "nice"]}
    yield "node", ["node_memory_MemTotal_bytes"], Steady, 8.2e9, {}
    yield "node", names("node_memory_", "MemFree MemAvailable Buffers Cached Active Inactive Active_anon Inactive_anon "
                        "Active_file Inactive_file Dirty AnonPages Mapped Shmem KReclaimable Slab SReclaimable "
                        "SUnreclaim KernelStack PageTables", "_bytes"), Pages, 1e9, {}
    yield "node", names("node_memory_", "SwapTotal SwapFree SwapCached Unevictable Mlocked Writeback NFS_Unstable Bounce "
                        "CommitLimit VmallocTotal VmallocChunk HardwareCorrupted AnonHugePages ShmemHugePages "
                        "HugePages_Total HugePages_Free Hugepagesize DirectMap4k", "_bytes"), Steady, 2 << 20, {}
    yield "node", names("node_disk_", "reads_completed reads_merged writes_completed writes_merged", "_total"), Counter, 60, \
        {"device": devices}
    yield "node", names("node_disk_", "read_bytes written_bytes", "_total"), Sectors, 1500, {"device": devices}
    yield "node", names("node_disk_", "read_time write_time io_time io_time_weighted", "_seconds_total"), Thousandths, .02, \
        {"device": devices}
    yield "node", ["node_disk_io_now"], Queue, .05, {"device": devices}
    yield "node", names("node_disk_", "discards_completed discards_merged discarded_sectors flush_requests", "_total"), \
        Steady, 0, {"device": devices}
    disk = {"mountpoint": mounts, "fstype": ["ext4"], "device": ["/dev/vda1"]}
    yield "node", names("node_filesystem_", "avail_bytes free_bytes"), Pages, 4e10, disk
    yield "node", ["node_filesystem_files_free"], Level, 5e6, disk
    yield "node", names("node_filesystem_", "size_bytes files readonly device_error"), Steady, 1e11, disk
    links = {"device": ["eth0", "lo", "docker0", "wg0"]}
    for way in ("receive", "transmit"):
        yield "node", [f"node_network_{way}_bytes_total"], Counter, 9e4, links
        yield "node", [f"node_network_{way}_packets_total"], Counter, 400, links
        yield "node", names(f"node_network_{way}_", "errs drop fifo frame compressed multicast nohandler", "_total"), Steady, 0, \
            links
    yield "node", names("node_network_", "up mtu_bytes carrier carrier_changes_total flags speed_bytes iface_id dormant "
                        "protocol_type transmit_queue_length iface_link iface_link_mode name_assign_type device_id"), \
        Steady, 1500, links
    yield "node", numbered("node_netstat_Tcp_", 15), Counter, 300, {}
    yield "node", numbered("node_netstat_TcpExt_", 30), Seldom, .02, {}
    yield "node", names("node_vmstat_", "pgfault pgpgin pgpgout"), Counter, 2000, {}
    yield "node", names("node_vmstat_", "pgmajfault pswpin pswpout oom_kill"), Seldom, .01, {}
    yield "node", ["node_load1", "node_load5", "node_load15"], Load, .6, {}
    yield "node", ["node_context_switches_total", "node_intr_total"], Counter, 4000, {}
    yield "node", ["node_forks_total"], Counter, 5, {}
    yield "node", ["node_boot_time_seconds", "node_entropy_available_bits"], Steady, 1.79e9, {}
    yield "node", ["node_procs_running", "node_procs_blocked"], Queue, .4, {}
    yield "node", names("node_", "sockstat_sockets_used sockstat_TCP_inuse sockstat_TCP_tw filefd_allocated "
                        "nf_conntrack_entries"), Level, 400, {}
    yield "node", ["node_time_seconds"], Clock, 0, {}
    yield "node", ["node_timex_offset_seconds"], Noise, 1e-5, {}
    units = {"name": [f"unit-{n:02}.service" for n in range(60)], "type": ["simple"]}
    yield "node", ["node_systemd_unit_state"], Steady, 1, {**units, "state": ["active"]}
    yield "node", ["node_systemd_unit_state"], Steady, 0, \
        {**units, "state": ["activating", "deactivating", "inactive", "failed"]}


def services():
    containers = {"name": numbered("svc-", 12), "image": ["registry.example/app:1.4"]}
    yield "app", names("container_cpu_", "usage system", "_seconds_total"), Nanoseconds, .02, containers
    yield "app", names("container_memory_", "usage_bytes working_set_bytes rss cache"), Pages, 1.5e8, containers
    yield "app", names("container_network_", "receive_bytes transmit_bytes receive_packets transmit_packets", "_total"), \
        Counter, 3000, containers
    yield "app", ["container_fs_reads_bytes_total"], Seldom, .05, containers
    yield "app", ["container_fs_writes_bytes_total"], Sectors, 50, containers
    yield "app", ["container_threads"], Level, 20, containers
    yield "app", ["container_last_seen"], Clock, 0, containers
    yield "app", names("container_", "spec_memory_limit_bytes spec_cpu_quota start_time_seconds oom_events_total "
                       "network_receive_errors_total tasks_state"), Steady, 4, containers
    databases = {"datname": ["app", "auth", "metrics", "postgres", "queue"]}
    yield "postgres", names("pg_stat_database_", "xact_commit blks_read blks_hit tup_returned tup_fetched tup_inserted "
                            "tup_updated tup_deleted"), Counter, 40, databases
    yield "postgres", names("pg_stat_database_", "xact_rollback temp_files temp_bytes"), Seldom, .02, databases
    yield "postgres", names("pg_stat_database_", "deadlocks conflicts"), Steady, 0, databases
    yield "postgres", ["pg_stat_database_numbackends"], Level, 8, databases
    yield "postgres", ["pg_database_size_bytes"], Pages, 1e9, databases
    yield "postgres", ["pg_stat_activity_count"], Queue, .3, {**databases, "state": ["active"]}
    yield "postgres", ["pg_stat_activity_count"], Steady, 3, \
        {**databases, "state": ["idle", "idle in transaction", "fastpath function call"]}
    tables = {"datname": ["app"], "schemaname": ["public"], "relname": numbered("table_", 10)}
    yield "postgres", names("pg_stat_user_tables_", "idx_scan idx_tup_fetch n_tup_ins n_tup_upd n_tup_del n_live_tup"), \
        Counter, 12, tables
    yield "postgres", names("pg_stat_user_tables_", "seq_scan seq_tup_read n_dead_tup n_mod_since_analyze"), Seldom, .05, tables
    yield "redis", numbered("redis_commands_", 10), Counter, 100, {}
    yield "redis", numbered("redis_memory_", 10), Level, 5000, {}
    yield "redis", numbered("redis_config_", 20), Steady, 100, {}
    sites = {"target": [f"https://site-{n:02}.example/" for n in range(10)]}
    yield "blackbox", ["probe_success"], Flag, .0005, sites
    yield "blackbox", ["probe_duration_seconds"], Noise, .12, sites
    yield "blackbox", ["probe_http_duration_seconds"], Noise, .02, \
        {**sites, "phase": ["resolve", "connect", "tls", "processing", "transfer"]}
    yield "blackbox", ["probe_http_status_code", "probe_ssl_earliest_cert_expiry"], Steady, 200, sites
    routes = {"handler": numbered("/api/v1/h", 5, 1), "method": ["GET", "POST"]}
    yield "app", ["http_requests_total"], Counter, 15, {**routes, "code": ["200"]}
    yield "app", ["http_requests_total"], Seldom, .1, {**routes, "code": ["404", "429", "500"]}
    yield "app", ["http_request_duration_seconds"], Histogram, 12, routes


def filling(count):
    """What an application adds: `count` series of all shapes."""
    shapes = [(Level, 50), (Counter, 8), (Steady, 7), (Seldom, .1), (Noise, .2)]
    for n in range(count):
        shape, size = shapes[n % len(shapes)]
        yield "app", [f"app_metric_{n % 40:02}"], shape, size, {"shard": [str(n // 40)]}


class Fleet:
    """`labels[i]`, sorted pairs, are of series i, which host `host[i]` has; `next` gives the samples of all."""

    def __init__(self, hosts=HOSTS, series=SERIES, seed=20261118):
        self.labels, self.host = [], []
        self.rng = np.random.default_rng(seed)
        members = {}
        for host in range(hosts):
            before = len(self.labels)
            for family in itertools.chain(exporters(), node(), services()):
                self._add(members, host, *family)
            count = len(self.labels) - before
            assert count <= series, f"the catalogue has {count} series a host, more than {series}"
            for family in filling(series - count):
                self._add(members, host, *family)
        self.host = np.array(self.host)
        self.shapes = [shape(*zip(*rows), self.rng) for shape, rows in members.items()]
        self.steady_count = len(members[Steady])
        # Each host is scraped at a place of its own within a step, never at a whole second.
        self.offsets = [(1_237 + host * 2_711) % STEP_MS for host in range(hosts)]

    def _add(self, members, host, job, metrics, shape, size, labels):
        for metric in metrics:
            for values in itertools.product(*labels.values()):
                own = {"instance": f"h{host + 1}", "job": job, **dict(zip(labels, values))}
                # Hosts and series of a kind differ, by as much as a factor of four, where sizes are no shares.
                is_share = size in (0, 1) or shape in (Flag, Seldom, Hundredths)
                scale = size if is_share else size * 4 ** self.rng.uniform(-.5, .5)
                scale = round(scale) if shape is Steady else scale
                if shape is Histogram:
                    for bound in BOUNDS:
                        self._append(members, host, shape, scale, metric + "_bucket", {**own, "le": bound})
                    self._append(members, host, shape, scale, metric + "_sum", own)
                    self._append(members, host, shape, scale, metric + "_count", own)
                else:
                    self._append(members, host, shape, scale, metric, own)

    def _append(self, members, host, shape, size, metric, labels):
        members.setdefault(shape, []).append((len(self.labels), size))
        self.labels.append(sorted({"__name__": metric, **labels}.items()))
        self.host.append(host)

    def next(self, first_ms, count):
        """The samples of all series at `first_ms` (a multiple of the step) and the steps after it: series × count."""
        seconds = (first_ms + np.arange(count) * STEP_MS) / 1000
        swing = 1 + .5 * np.sin(2 * np.pi * seconds / 86_400)
        values = np.empty((len(self.labels), count))
        for shape in self.shapes:
            values[shape.rows] = shape.next(seconds, swing)
        return values


if __name__ == "__main__":
    fleet = Fleet()
    print(f"{len(fleet.labels)} series, {fleet.steady_count} of them steady")
