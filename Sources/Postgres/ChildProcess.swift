import CGlibc
import Dispatch
import Glibc

/// How a finished program ended: its exit status (128 + signal where it was killed) and what it printed.
struct ChildOutcome: Sendable {
    var status: Int32
    /// Both outputs, at most `ChildProcess.outputBytesMax`.
    var output: String
}

/// Runs a program to its end, in a session of its own so that a terminal's Ctrl-C does not reach it.
enum ChildProcess {
    static let outputBytesMax = 64 * 1024
    /// `POSIX_SPAWN_SETSID`, a GNU extension that the C module hides. Source: glibc 2.36 spawn.h.
    private static let newSession: Int16 = 0x80

    /// `arguments[0]` is the program's absolute path. Its output goes to `outputPath`, which is made with mode 0600.
    static func run(
        _ arguments: [String], outputPath: String
    ) async throws(PostgresError) -> ChildOutcome {
        let result: Result<ChildOutcome, PostgresError> = await besideTasks("petrel.child") {
            do throws(PostgresError) {
                return .success(try runNow(arguments, outputPath))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func runNow(
        _ arguments: [String], _ outputPath: String
    ) throws(PostgresError) -> ChildOutcome {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(
            &actions, 1, outputPath, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // A server outlives this process: it must not keep listeners and connections of ours open.
        petrel_spawn_close_from(&actions, 3)
        posix_spawnattr_setflags(&attributes, newSession)
        let environment = [
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TZ=UTC",
        ]
        let argv = arguments.map { strdup($0) } + [nil]
        let envp = environment.map { strdup($0) } + [nil]
        defer { for copy in argv + envp { free(copy) } }
        var child: pid_t = 0
        let spawned = posix_spawn(&child, arguments[0], &actions, &attributes, argv, envp)
        guard spawned == 0 else {
            throw .cluster(
                "cannot run \(arguments[0]): \(errorText(spawned)); check that it is installed")
        }
        var status: Int32 = 0
        while waitpid(child, &status, 0) == -1 {
            guard errno == EINTR else {
                throw .cluster("cannot wait for \(arguments[0]): \(errorText(errno))")
            }
        }
        let signal = status & 0x7f
        return ChildOutcome(
            status: signal == 0 ? (status >> 8) & 0xff : 128 + signal,
            output: SmallFile.read(outputPath, bytesMax: outputBytesMax) ?? "")
    }
}

/// Runs what waits for the disk or a program outside the threads of the tasks.
func besideTasks<T: Sendable>(_ name: String, _ body: @escaping @Sendable () -> T) async -> T {
    await withCheckedContinuation { done in
        DispatchQueue(label: name).async { done.resume(returning: body()) }
    }
}
