import CGlibc
import Glibc
package import World

/// Runs programs with `posix_spawn`, each in a session of its own, so that the whole of it can be killed.
package struct LiveProgramRunner: ProgramRunner {
    /// `POSIX_SPAWN_SETSID`, a GNU extension that the C module hides. Source: glibc 2.36 spawn.h.
    private static let newSession: Int16 = 0x80
    private static let folders = [
        "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
    ]
    /// How often a child that closed nothing is looked after, milliseconds.
    private static let lookMilliseconds: Int64 = 50

    package init() {}

    package func locate(_ name: String) -> String? {
        guard !name.contains("/") else { return access(name, X_OK) == 0 ? name : nil }
        return Self.folders.map { $0 + "/" + name }.first { access($0, X_OK) == 0 }
    }

    package func run(_ run: ProgramRun) throws(ProgramError) -> ProgramOutcome {
        var pipes: [Pipe] = []
        defer { for pipe in pipes { pipe.close() } }
        for _ in 0..<3 {
            guard let pipe = Pipe() else {
                throw .cannotStart(program: run.arguments[0], errno: errno)
            }
            pipes.append(pipe)
        }
        let child = try spawn(run, input: pipes[0], output: pipes[1], errors: pipes[2])
        pipes[0].closeReading()
        pipes[1].closeWriting()
        pipes[2].closeWriting()
        return try follow(child, run, pipes)
    }

    private func spawn(
        _ run: ProgramRun, input: Pipe, output: Pipe, errors: Pipe
    ) throws(ProgramError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_adddup2(&actions, input.reading, 0)
        posix_spawn_file_actions_adddup2(&actions, output.writing, 1)
        posix_spawn_file_actions_adddup2(&actions, errors.writing, 2)
        petrel_spawn_close_from(&actions, 3)
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigaddset(&signals, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(
            &attributes,
            Self.newSession | Int16(POSIX_SPAWN_SETSIGDEF) | Int16(POSIX_SPAWN_SETSIGMASK))
        var environment = [
            "PATH": Self.folders.joined(separator: ":"), "LC_ALL": "C.UTF-8", "TZ": "UTC",
        ]
        environment.merge(run.environment) { $1 }
        let argv = run.arguments.map { strdup($0) } + [nil]
        let envp = environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") }
        defer { for copy in argv + envp { free(copy) } }
        var child: pid_t = 0
        let spawned = posix_spawn(
            &child, run.arguments[0], &actions, &attributes, argv, envp + [nil])
        guard spawned == 0 else {
            throw .cannotStart(program: run.arguments[0], errno: spawned)
        }
        return child
    }

    /// Feeds the child and reads what it prints until it ends. Its own children may keep the outputs open: nobody waits
    /// for those.
    private func follow(
        _ child: pid_t, _ run: ProgramRun, _ pipes: [Pipe]
    ) throws(ProgramError) -> ProgramOutcome {
        let end = monotonicMilliseconds() + Int64(run.deadlineSeconds) * 1_000
        var texts: [[UInt8]] = [[], []]
        var rest = run.input[...]
        for pipe in pipes { pipe.setNonBlocking() }
        var status: Int32?
        while status == nil {
            if rest.isEmpty { pipes[0].closeWriting() }
            pipes.waitForEvent(milliseconds: Self.lookMilliseconds)
            if !rest.isEmpty, !pipes[0].write(&rest) { rest = [] }
            for index in 0..<2 { pipes[index + 1].drain(into: &texts[index]) }
            status = ended(child)
            if status == nil, monotonicMilliseconds() >= end {
                kill(-child, SIGKILL)
                kill(child, SIGKILL)
                var ignored: Int32 = 0
                while waitpid(child, &ignored, 0) == -1, errno == EINTR {}
                throw .timedOut(program: run.arguments[0], seconds: run.deadlineSeconds)
            }
        }
        for index in 0..<2 { pipes[index + 1].drain(into: &texts[index]) }
        return ProgramOutcome(
            status: status ?? 255, output: String(decoding: texts[0], as: UTF8.self),
            errors: String(decoding: texts[1], as: UTF8.self))
    }

    private func ended(_ child: pid_t) -> Int32? {
        var status: Int32 = 0
        let found = waitpid(child, &status, WNOHANG)
        if found == 0 || (found == -1 && errno == EINTR) { return nil }
        guard found == child else { return 255 }
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal
    }

    private func monotonicMilliseconds() -> Int64 {
        LiveClock().monotonicNanoseconds / 1_000_000
    }
}

/// A pipe, closed on exec. Used by one thread.
private final class Pipe {
    private(set) var reading: Int32
    private(set) var writing: Int32

    init?() {
        var ends: [Int32] = [-1, -1]
        // The C module hides pipe2. A program that another thread starts between these calls inherits the ends: it would
        // hold them open, and nobody here waits for that.
        guard pipe(&ends) == 0 else { return nil }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        reading = ends[0]
        writing = ends[1]
    }

    func close() {
        closeReading()
        closeWriting()
    }

    func closeReading() {
        if reading >= 0 { _ = Glibc.close(reading) }
        reading = -1
    }

    func closeWriting() {
        if writing >= 0 { _ = Glibc.close(writing) }
        writing = -1
    }

    func setNonBlocking() {
        for end in [reading, writing] where end >= 0 {
            _ = fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK)
        }
    }

    /// Writes what fits; false where the other end is gone.
    func write(_ bytes: inout ArraySlice<UInt8>) -> Bool {
        let put = bytes.withUnsafeBytes { writeWithoutSignal($0) }
        if put > 0 { bytes = bytes.dropFirst(put) }
        return put >= 0 || errno == EAGAIN || errno == EINTR
    }

    /// `write` that never raises SIGPIPE in this program, whatever its disposition is.
    private func writeWithoutSignal(_ bytes: UnsafeRawBufferPointer) -> Int {
        var blocked = sigset_t()
        var before = sigset_t()
        sigemptyset(&blocked)
        sigaddset(&blocked, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &blocked, &before)
        let put = Glibc.write(writing, bytes.baseAddress, bytes.count)
        let reason = errno
        if put < 0, reason == EPIPE {
            var none = timespec()
            _ = sigtimedwait(&blocked, nil, &none)
        }
        pthread_sigmask(SIG_SETMASK, &before, nil)
        errno = reason
        return put
    }

    /// Reads of one turn: more than a pipe holds, and yet a writer that never pauses does not keep us from the deadline.
    private static let readsMax = 64

    /// Reads what is there, a turn's worth at most; what goes over the bound is dropped.
    func drain(into text: inout [UInt8]) {
        guard reading >= 0 else { return }
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        for _ in 0..<Self.readsMax {
            let got = chunk.withUnsafeMutableBytes {
                Glibc.read(reading, $0.baseAddress, $0.count)
            }
            if got < 0, errno == EINTR { continue }
            if got == 0 { closeReading() }
            guard got > 0 else { return }
            let room = ProgramRun.outputBytesMax - text.count
            text += chunk[..<min(got, max(0, room))]
        }
    }
}

extension [Pipe] {
    /// Returns when one of the three (input, output, errors) may go on, or after the wait.
    fileprivate func waitForEvent(milliseconds: Int64) {
        var polls: [pollfd] = []
        if self[0].writing >= 0 {
            polls.append(pollfd(fd: self[0].writing, events: Int16(POLLOUT), revents: 0))
        }
        for pipe in dropFirst() where pipe.reading >= 0 {
            polls.append(pollfd(fd: pipe.reading, events: Int16(POLLIN), revents: 0))
        }
        // With every pipe closed this is the wait for the end of a program that closed its outputs.
        _ = poll(&polls, nfds_t(polls.count), Int32(milliseconds))
    }
}
