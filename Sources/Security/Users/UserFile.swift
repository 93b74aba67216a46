import Glibc
package import Linux
import Synchronization

/// A file of the users who may log in.
///
/// Each login checks whether the file has changed, and reads it again if so. If the new content
/// cannot be understood, the users that were read before stay.
package final class UserFile: Sendable {
    private let path: String
    private let state: Mutex<State>

    private struct State {
        var users: UserList
        /// A hash for users who do not exist, so that the time of a login does not reveal it.
        var nobody: PasswordHash
        /// The file's stamp when it was read; nil for a missing file.
        var stamp: FileStamp?
        var events = ReloadEvents()
    }

    /// The reason why a file's users cannot be read.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        /// The file cannot be opened or read.
        case unreadable(path: String, SystemError)
        /// The file is longer than any file of users may be.
        case tooLarge(path: String)
        /// A line cannot be understood.
        case wrong(path: String, UserList.Failure)

        /// The file and the reason, with the remedy where there is one.
        package var description: String {
            switch self {
            case .unreadable(let path, let error):
                "\(path): \(error.reason): give a file of users, as `podwire password` makes it"
            case .tooLarge(let path):
                "\(path): this has more than \(UserList.byteCountMax >> 10) KiB, so it is not a file of users"
            case .wrong(let path, let failure): "\(path), \(failure)"
            }
        }
    }

    /// Reads the file.
    ///
    /// Waits for the disk.
    package init(_ path: String) throws(Failure) {
        self.path = path
        // The stamp comes first, so that a change in between is seen the next time.
        let stamp = try? FileStamp(of: path)
        let users = try Self.read(path)
        var state = State(users: users, nobody: Self.nobody(among: users), stamp: stamp)
        Self.warnIfOpen(&state, path)
        if users.hashes.isEmpty {
            state.events.add(
                .warning("\(path) has no users, so nobody can log in: `podwire password` adds one"))
        }
        self.state = Mutex(state)
    }

    /// The number of users.
    package var count: Int { state.withLock { $0.users.hashes.count } }

    /// Checks a user's password, which takes about a tenth of a second.
    ///
    /// It takes as long for a user who does not exist. It waits for the disk if the file has changed.
    package func verify(user: [UInt8], password: [UInt8]) -> Bool {
        let (hash, nobody) = state.withLock { state in
            renew(&state)
            return (state.users.hashes[user], state.nobody)
        }
        // Hashed outside the lock, so that one login does not wait for another.
        let isRight = (hash ?? nobody).matches(password)
        return hash != nil && isRight
    }

    /// Takes what the log should say of the file: read again, unreadable, or readable by others.
    package func takeReloadEvents() -> [ReloadEvent] {
        state.withLock { $0.events.takeAll() }
    }

    /// Reads the file again if it has changed.
    private func renew(_ state: inout State) {
        let stamp = try? FileStamp(of: path)
        guard stamp != state.stamp else { return }
        state.stamp = stamp
        do throws(Failure) {
            state.users = try Self.read(path)
            state.nobody = Self.nobody(among: state.users)
            state.events.add(.information("\(path) was read again"))
            Self.warnIfOpen(&state, path)
        } catch {
            state.events.add(.warning("\(error); the users read before stay"))
        }
    }

    private static func read(_ path: String) throws(Failure) -> UserList {
        let text: [UInt8]
        do throws(SystemError) {
            guard try FileStamp(of: path).isRegularFile else {
                throw SystemError("read \(path)", .invalidArgument)
            }
            text = try readFile(path, byteCountMax: UserList.byteCountMax)
        } catch {
            throw error.errno == .fileTooLarge
                ? .tooLarge(path: path) : .unreadable(path: path, error)
        }
        do throws(UserList.Failure) { return try UserList(text) } catch {
            throw .wrong(path: path, error)
        }
    }

    /// A hash that costs as much as the dearest user's; as a rule all cost the same.
    private static func nobody(among users: UserList) -> PasswordHash {
        let counts = users.hashes.values.map(\.iterationCount)
        return PasswordHash(matchingNothing: counts.max() ?? PasswordHash.iterationCountDefault)
    }

    private static func warnIfOpen(_ state: inout State, _ path: String) {
        guard let stamp = state.stamp, stamp.permissions & 0o044 != 0 else { return }
        let mode = String(stamp.permissions, radix: 8)
        state.events.add(
            .warning(
                "\(path) can be read by other users (mode \(mode)): `chmod 600` keeps it to one"))
    }
}
