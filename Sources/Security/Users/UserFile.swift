import Glibc
package import Linux
import Synchronization

/// The users who may log in, as a file has them.
///
/// Whoever asks makes it look whether the file has changed, and if so it is read again. As long as
/// what is there cannot be understood, the users read last stay.
package final class UserFile: Sendable {
    private let path: String
    private let state: Mutex<State>

    private struct State {
        var users: UserList
        /// For users who are not there, so that the time it takes does not tell.
        var nobody: PasswordHash
        /// Of the file when it was read last; nil where there was none.
        var stamp: FileStamp?
        var notices = Notices()
    }

    /// Why a file's users cannot be had.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case unreadable(path: String, SystemError)
        case tooLarge(path: String)
        case wrong(path: String, UserList.Failure)

        package var description: String {
            switch self {
            case .unreadable(let path, let error):
                "\(path): \(error.reason): give a file of users, as `podwire password` makes it"
            case .tooLarge(let path):
                "\(path): this has more than \(UserList.byteCountMax >> 10) KiB, so it is no file of users"
            case .wrong(let path, let failure): "\(path), \(failure)"
            }
        }
    }

    /// Reads the file. Waits for the disk.
    package init(_ path: String) throws(Failure) {
        self.path = path
        // Looked at before it is read, so that a change in between is seen the next time.
        let stamp = try? FileStamp(of: path)
        let users = try Self.read(path)
        var state = State(users: users, nobody: Self.nobody(among: users), stamp: stamp)
        Self.warnIfOpen(&state, path)
        if users.hashes.isEmpty {
            state.notices.add(
                .warning("\(path) has no users, so nobody can log in: `podwire password` adds one"))
        }
        self.state = Mutex(state)
    }

    /// How many users there are.
    package var count: Int { state.withLock { $0.users.hashes.count } }

    /// Whether there is such a user with this password. It takes about a tenth of a second, as long
    /// for a user who does not exist, and for the disk if the file has changed.
    package func verify(user: [UInt8], password: [UInt8]) -> Bool {
        let (hash, nobody) = state.withLock { state in
            renew(&state)
            return (state.users.hashes[user], state.nobody)
        }
        // Outside the lock, so that one login does not wait for another.
        let isRight = (hash ?? nobody).matches(password)
        return hash != nil && isRight
    }

    /// What the log should say, once: a file read again, one that cannot be, or one that others can
    /// read.
    package func takeNotices() -> [Notice] {
        state.withLock { $0.notices.take() }
    }

    private func renew(_ state: inout State) {
        let stamp = try? FileStamp(of: path)
        guard stamp != state.stamp else { return }
        state.stamp = stamp
        do throws(Failure) {
            state.users = try Self.read(path)
            state.nobody = Self.nobody(among: state.users)
            state.notices.add(.information("\(path) was read again"))
            Self.warnIfOpen(&state, path)
        } catch {
            state.notices.add(.warning("\(error); the users read before stay"))
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

    /// Costs as much as the most costly user: they are all alike, as a rule.
    private static func nobody(among users: UserList) -> PasswordHash {
        let counts = users.hashes.values.map(\.iterationCount)
        return PasswordHash(matchingNothing: counts.max() ?? PasswordHash.iterationCountDefault)
    }

    private static func warnIfOpen(_ state: inout State, _ path: String) {
        guard let stamp = state.stamp, stamp.permissions & 0o044 != 0 else { return }
        let mode = String(stamp.permissions, radix: 8)
        state.notices.add(
            .warning(
                "\(path) can be read by other users (mode \(mode)): `chmod 600` keeps it to one"))
    }
}
