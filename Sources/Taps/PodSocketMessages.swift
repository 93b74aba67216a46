import Addressing

/// A request for a packet socket inside a pod's network namespace, which goes with its open file.
package struct PodSocketRequest: Equatable, Sendable {
    /// The index of the host's end of the pod's interface; 0 if the interface has no end here.
    package let hostIndex: UInt32
    /// The id under which the host's namespace knows the pod's.
    package let namespaceID: Int32
    /// The index of the interface inside the pod.
    package let podIndex: UInt32

    /// A request by its parts.
    package init(hostIndex: UInt32, namespaceID: Int32, podIndex: UInt32) {
        (self.hostIndex, self.namespaceID, self.podIndex) = (hostIndex, namespaceID, podIndex)
    }

    /// The first four bytes of a request: the letters `pwq`, and the version.
    private static let mark: UInt32 = 0x7077_7101
    /// The length of a request.
    package static let byteCount = 16

    /// Decodes a request; nil if the bytes are none of this version.
    ///
    /// Indices are above 0 and ids are not negative, as the kernel has them.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount, bytes.wire.uint32(at: 0) == Self.mark else {
            return nil
        }
        self.init(
            hostIndex: bytes.wire.uint32(at: 4),
            namespaceID: Int32(bitPattern: bytes.wire.uint32(at: 8)),
            podIndex: bytes.wire.uint32(at: 12))
        guard hostIndex <= UInt32(Int32.max), namespaceID >= 0,
            (1...UInt32(Int32.max)).contains(podIndex)
        else { return nil }
    }

    /// The bytes that `init(_:)` decodes.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: Self.mark)
        bytes.append(bigEndian: hostIndex)
        bytes.append(bigEndian: namespaceID)
        bytes.append(bigEndian: podIndex)
        return bytes
    }
}

/// The answer to a request, which comes with the socket if there is one.
package struct PodSocketAnswer: Equatable, Sendable {
    /// The request.
    package let request: PodSocketRequest
    /// The step that has failed; nil if all went well.
    package let failedStep: PodSocketStep?
    /// The kernel's reason for the failure (errno(3)), or 0.
    package let errno: Int32

    /// An answer by its parts.
    package init(to request: PodSocketRequest, failedStep: PodSocketStep?, errno: Int32) {
        (self.request, self.failedStep, self.errno) = (request, failedStep, errno)
    }

    /// The first four bytes of an answer: the letters `pwa`, and the version.
    private static let mark: UInt32 = 0x7077_6101
    /// The length of an answer.
    package static let byteCount = 28

    /// Decodes an answer; nil if the bytes are none of this version.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount, bytes.wire.uint32(at: 0) == Self.mark,
            let request = PodSocketRequest(Array(bytes[4..<4 + PodSocketRequest.byteCount]))
        else { return nil }
        self.request = request
        let step = bytes.wire.uint32(at: 20)
        errno = Int32(bitPattern: bytes.wire.uint32(at: 24))
        failedStep = PodSocketStep(rawValue: step)
        // Without a failed step there is no reason, and with one there is.
        guard step == 0 ? errno == 0 : failedStep != nil && errno > 0 else { return nil }
    }

    /// The bytes that `init(_:)` decodes.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: Self.mark)
        bytes += request.bytes
        bytes.append(bigEndian: failedStep?.rawValue ?? 0)
        bytes.append(bigEndian: errno)
        return bytes
    }
}

/// A step of the opener on the way to a socket, in order.
package enum PodSocketStep: UInt32, Sendable, CaseIterable {
    /// What came with the request is an open network namespace, and not the opener's own.
    case namespace = 1
    /// The request asks for what the opener has been told to do.
    case permission
    /// The namespace has the id of the request.
    case identifier
    /// The host's interface leads to the pod's.
    case link
    /// A thread has started.
    case thread
    /// The thread has entered the namespace.
    case entry
    /// The socket is open.
    case socket
    /// The host's interface still leads there.
    case recheck

    /// The step as the end of the sentence "it failed to …".
    package var words: String {
        switch self {
        case .namespace: "recognize the pod's network namespace"
        case .permission: "permit interfaces without a host end"
        case .identifier: "find the namespace under its id"
        case .link: "find the pod's interface behind the host's"
        case .thread: "start a thread"
        case .entry: "enter the pod's network namespace"
        case .socket: "open a packet socket in the pod's network namespace"
        case .recheck: "find the pod's interface behind the host's a second time"
        }
    }
}
