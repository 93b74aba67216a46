import CLinux
import Glibc
import Synchronization

/// The identity of a file: its device, and its number there (stat(2)).
package struct FileIdentity: Hashable, Sendable {
    /// The file system's device.
    package let device: UInt64
    /// The number of the file in its file system.
    package let inode: UInt64

    /// An identity by its parts.
    package init(device: UInt64, inode: UInt64) { (self.device, self.inode) = (device, inode) }

    /// The identity of the calling thread's network namespace.
    package static func ofOwnNetwork() throws(SystemError) -> Self {
        try Descriptor(reading: "/proc/thread-self/ns/net").identity()
    }
}

extension Descriptor {
    /// The identity of the open file.
    package func identity() throws(SystemError) -> FileIdentity {
        var status = stat()
        // Safety: the call fills `status`.
        try call("fstat") { unsafe fstat(fileDescriptor, &status) }
        return FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    /// Whether the descriptor stands for a network namespace (nsfs and ioctl_ns(2)).
    ///
    /// The file system is looked at first, since a device may understand the same ioctl as its own.
    ///
    /// - Throws: The kernel's reason if it cannot say.
    package func isNetworkNamespace() throws(SystemError) -> Bool {
        guard try call("fstatfs", { clinux_is_of_nsfs(fileDescriptor) }) == 1 else { return false }
        return try call("ioctl NS_GET_NSTYPE") { clinux_namespace_type(fileDescriptor) }
            == CLONE_NEWNET
    }

    /// Whether the descriptor is a raw packet socket.
    package func isPacketSocket() throws(SystemError) -> Bool {
        let domain: CInt
        do throws(SystemError) {
            domain = try get(SO_DOMAIN, of: SOL_SOCKET, into: CInt(0), "SO_DOMAIN")
        } catch {
            guard error.errno.rawValue == ENOTSOCK else { throw error }
            return false
        }
        let type = try get(SO_TYPE, of: SOL_SOCKET, into: CInt(0), "SO_TYPE")
        return domain == AF_PACKET && type == CInt(SOCK_RAW.rawValue)
    }

    /// A step on the way to a packet socket in another network namespace, and how it has failed.
    package enum ForeignSocketFailure: Error, Equatable {
        /// The thread could not be started.
        case thread(SystemError)
        /// The namespace could not be entered.
        case entry(SystemError)
        /// The socket could not be opened.
        case socket(SystemError)
    }

    /// Opens a packet socket inside another network namespace, unbound and deaf until it is bound.
    ///
    /// A thread of its own enters the namespace, opens the socket and ends. It never comes back, so a
    /// way back cannot fail, and no other thread is ever inside. Needs CAP_SYS_ADMIN here and
    /// CAP_NET_RAW there.
    ///
    /// - Parameter namespace: The namespace; it stays open for the call.
    /// - Returns: The socket.
    /// - Throws: The step that failed, and the kernel's reason.
    package static func packetSocket(
        inside namespace: borrowing Descriptor
    ) throws(ForeignSocketFailure) -> Descriptor {
        let fileDescriptor = namespace.fileDescriptor
        let outcome = Outcome()
        do throws(SystemError) {
            try Thread {
                nameThread("podwire-opener")
                outcome.set(openPacketSocket(inside: fileDescriptor))
            }.join()
        } catch {
            throw .thread(error)
        }
        let socket = try outcome.take().get()
        do throws(SystemError) {
            return try Descriptor("socket AF_PACKET") { socket }
        } catch {
            throw .socket(error)
        }
    }

    private static func openPacketSocket(
        inside namespace: CInt
    ) -> Result<CInt, ForeignSocketFailure> {
        do throws(SystemError) {
            try call("setns") { clinux_enter_network(namespace) }
        } catch {
            return .failure(.entry(error))
        }
        // With protocol 0 the socket receives nothing until it is bound, when its filter is in place.
        let socket = Glibc.socket(AF_PACKET, CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 0)
        return socket >= 0 ? .success(socket) : .failure(.socket(SystemError("socket AF_PACKET")))
    }

    /// What a thread leaves behind for the one that joins it.
    private final class Outcome: Sendable {
        private let value = Mutex(Result<CInt, ForeignSocketFailure>?.none)

        func set(_ result: Result<CInt, ForeignSocketFailure>) { value.withLock { $0 = result } }

        func take() -> Result<CInt, ForeignSocketFailure> {
            guard let result = value.withLock({ $0 }) else {
                preconditionFailure("the thread has ended without a result")
            }
            return result
        }
    }
}
