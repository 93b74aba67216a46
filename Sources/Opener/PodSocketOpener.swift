import Glibc
package import Linux
import Netlink
package import Taps

/// The one place where a pod's network namespace is entered, and what is checked before.
///
/// A request names a pod three times: by the open file of its namespace, by the namespace's id, and by
/// the two ends of its interface. All must mean the same pod. While the file is open its id cannot
/// be given to another namespace.
package final class PodSocketOpener {
    private var netlink: NetlinkSocket
    private let ownNetwork: FileIdentity
    private let opensPodInterfaces: Bool

    /// The kinds of interfaces with one end here and the other in a pod.
    private static let pairKinds: Set = ["veth", "netkit"]

    /// An opener of sockets for the calling thread's network namespace.
    ///
    /// - Parameter opensPodInterfaces: Whether it opens sockets for interfaces without a host end.
    /// - Throws: The kernel's reason if there is no netlink.
    package init(opensPodInterfaces: Bool) throws(SystemError) {
        netlink = try NetlinkSocket()
        ownNetwork = try .ofOwnNetwork()
        self.opensPodInterfaces = opensPodInterfaces
    }

    /// A step that failed, and the kernel's reason or `ESTALE`.
    package struct Failure: Error, Equatable {
        package let step: PodSocketStep
        package let errno: Errno

        package init(_ step: PodSocketStep, _ errno: Errno) {
            (self.step, self.errno) = (step, errno)
        }
    }

    /// Opens a packet socket inside a pod.
    ///
    /// - Parameters:
    ///   - request: Which pod.
    ///   - namespace: The open file of its namespace.
    /// - Returns: The socket, which hears nothing until it is bound.
    /// - Throws: The step that failed: with `ESTALE` if the pod is not the one of the request any more.
    package func open(
        _ request: PodSocketRequest, _ namespace: borrowing Descriptor
    ) throws(Failure) -> Descriptor {
        guard request.hostIndex != 0 || opensPodInterfaces else {
            throw Failure(.permission, .notPermitted)
        }
        guard (try? namespace.isNetworkNamespace()) == true,
            let identity = try? namespace.identity(), identity != ownNetwork
        else { throw Failure(.namespace, .invalidArgument) }
        do throws(SystemError) {
            guard try netlink.namespaceID(of: namespace) == request.namespaceID else {
                throw SystemError("RTM_GETNSID", .staleFileHandle)
            }
        } catch {
            throw Failure(.identifier, error.errno)
        }
        try checkLink(request, .link)
        let socket: Descriptor
        do throws(Descriptor.ForeignSocketFailure) {
            socket = try Descriptor.packetSocket(inside: namespace)
        } catch {
            throw Failure(error)
        }
        try checkLink(request, .recheck)
        return socket
    }

    private func checkLink(
        _ request: PodSocketRequest, _ step: PodSocketStep
    ) throws(Failure) {
        guard request.hostIndex != 0 else { return }
        do throws(SystemError) {
            let link = try netlink.link(request.hostIndex)
            guard let link, Self.pairKinds.contains(link.kind),
                link.peerNamespace == request.namespaceID, link.peerIndex == request.podIndex
            else { throw SystemError("RTM_GETLINK", .staleFileHandle) }
        } catch {
            throw Failure(step, error.errno)
        }
    }

    /// Tries whether this process may do what an opener has to, in its own namespace.
    ///
    /// - Throws: The step that fails; `EPERM` for want of a capability, or by a security profile.
    package static func tryRights() throws(Failure) {
        let own: Descriptor
        do throws(SystemError) {
            own = try Descriptor(reading: "/proc/thread-self/ns/net")
        } catch {
            throw Failure(.namespace, error.errno)
        }
        do throws(Descriptor.ForeignSocketFailure) {
            _ = try Descriptor.packetSocket(inside: own)
        } catch {
            throw Failure(error)
        }
    }
}

extension PodSocketOpener.Failure {
    fileprivate init(_ failure: Descriptor.ForeignSocketFailure) {
        switch failure {
        case .thread(let error): self.init(.thread, error.errno)
        case .entry(let error): self.init(.entry, error.errno)
        case .socket(let error): self.init(.socket, error.errno)
        }
    }
}
