package import Linux
import Synchronization
package import Time

/// The agent's connection to the opener, the process that opens sockets inside pods.
///
/// It connects when a socket is first wanted and after each failure, with a delay that grows: pods
/// must not wait for an opener that is not there. Any thread may ask; they take turns.
package final class PodSocketClient: Sendable {
    private let path: String
    private let state = Mutex(State())

    /// The opener's socket in both containers.
    package static let standardPath = "/run/podwire/opener.sock"
    /// The longest wait for an answer, which takes the opener less than a millisecond.
    ///
    /// It is short, since packets may wait meanwhile, and long for a node with a load of 20.
    package static let answerTimeMax = Duration.seconds(1)

    /// A client of the opener that listens at a path; it connects later.
    package init(path: String = standardPath) { self.path = path }

    private struct State: ~Copyable {
        var connection: SequencedSocket?
        var backoff = Backoff()
        var retryAt = MonotonicTime.zero
        /// Why the last connection failed.
        var failure: PodSocketFailure?
    }

    /// When the opener is tried again; nil if the last try has reached it.
    package var retryTime: MonotonicTime? {
        state.withLock { $0.failure == nil ? nil : $0.retryAt }
    }

    /// Asks for a packet socket inside a pod, unbound and without a filter.
    ///
    /// Waits for the opener, at most `answerTimeMax`. An opener that has failed is not asked again
    /// before `retryTime`; until then the call fails at once.
    ///
    /// - Parameters:
    ///   - request: Which interface of which pod.
    ///   - file: The file of the pod's network namespace.
    /// - Returns: The socket.
    /// - Throws: Why there is none.
    package func open(
        _ request: PodSocketRequest, in file: NamespaceFile
    ) throws(PodSocketFailure) -> Descriptor {
        let namespace = try Self.open(file)
        return try state.withLock { state throws(PodSocketFailure) in
            try Self.ask(request, namespace, path, &state)
        }
    }

    /// Asks the opener whether it is there, with a connection of its own.
    ///
    /// The question is for a socket in the namespace of the agent itself, which every opener refuses.
    ///
    /// - Parameter forPodInterfaces: Whether it is to open sockets for interfaces without a host end.
    /// - Throws: Why it seems not to be there; `elsewhere` if it runs in another network namespace.
    package func probe(forPodInterfaces: Bool = false) throws(PodSocketFailure) {
        let own: Descriptor
        do throws(SystemError) {
            own = try Descriptor(reading: "/proc/thread-self/ns/net")
        } catch {
            throw .file(error)
        }
        var state = State()
        let request = PodSocketRequest(
            hostIndex: forPodInterfaces ? 0 : 1, namespaceID: 0, podIndex: 1)
        do throws(PodSocketFailure) {
            _ = try Self.exchange(request, own, path, &state)
        } catch {
            switch error {
            case .refused(.namespace, .invalidArgument): break
            // To an opener elsewhere the namespace is one of a pod, which has not this id.
            case .gone: throw .elsewhere
            default: throw error
            }
        }
    }

    private static func open(_ file: NamespaceFile) throws(PodSocketFailure) -> Descriptor {
        do throws(SystemError) {
            let descriptor = try file.open()
            guard try descriptor.isNetworkNamespace() else {
                throw SystemError("open \(file.path)", .staleFileHandle)
            }
            return descriptor
        } catch {
            throw file.isGone(error) ? .gone(error) : .file(error)
        }
    }

    private static func ask(
        _ request: PodSocketRequest, _ namespace: borrowing Descriptor, _ path: String,
        _ state: inout State
    ) throws(PodSocketFailure) -> Descriptor {
        if let failure = state.failure, MonotonicTime.now < state.retryAt { throw failure }
        let wasConnected = state.connection != nil
        do throws(PodSocketFailure) {
            do throws(PodSocketFailure) {
                return try exchange(request, namespace, path, &state)
            } catch {
                // An opener that was started anew has forgotten the connection, and accepts another.
                guard wasConnected, case .silent(let reason) = error, reason.errno != .timedOut
                else { throw error }
                state.connection = nil
                return try exchange(request, namespace, path, &state)
            }
        } catch {
            guard error.isOfConnection else { throw error }
            state.connection = nil
            state.failure = error
            state.retryAt = .now + state.backoff.next()
            throw error
        }
    }

    private static func exchange(
        _ request: PodSocketRequest, _ namespace: borrowing Descriptor, _ path: String,
        _ state: inout State
    ) throws(PodSocketFailure) -> Descriptor {
        let connection: SequencedSocket
        if let open = state.connection.take() {
            connection = open
        } else {
            do throws(SystemError) {
                connection = try SequencedSocket(to: path)
            } catch {
                throw .noOpener(path: path, error)
            }
        }
        var message: SequencedSocket.Message
        do throws(SystemError) {
            try connection.send(request.bytes, passing: [namespace.fileDescriptor])
            message = try answer(connection)
        } catch {
            throw .silent(error)
        }
        let socket = message.descriptor.take()
        let answer = try PodSocketAnswer(
            checking: message.bytes, isCut: message.isCut,
            descriptorCount: message.descriptorCount, to: request)
        state.connection = consume connection
        state.failure = nil
        state.backoff.reset()
        return try result(answer, socket)
    }

    private static func answer(
        _ connection: borrowing SequencedSocket
    ) throws(SystemError) -> SequencedSocket.Message {
        try connection.awaitMessage(until: .now + answerTimeMax)
        guard let message = try connection.receive(), !message.bytes.isEmpty else {
            throw SystemError("recvmsg", .connectionReset)
        }
        return message
    }

    private static func result(
        _ answer: PodSocketAnswer, _ socket: consuming Descriptor?
    ) throws(PodSocketFailure) -> Descriptor {
        if let step = answer.failedStep {
            let errno = Errno(rawValue: answer.errno)
            guard ![.staleFileHandle, .noSuchDevice].contains(errno) else {
                throw .gone(SystemError(step.words, errno))
            }
            throw .refused(step, errno)
        }
        guard let socket, (try? socket.isPacketSocket()) == true else {
            throw .nonsense("a descriptor that is no packet socket")
        }
        return socket
    }
}

extension PodSocketAnswer {
    /// An answer to a request, with one descriptor if all went well and none otherwise.
    ///
    /// - Throws: What it is instead.
    package init(
        checking bytes: [UInt8], isCut: Bool, descriptorCount: Int, to request: PodSocketRequest
    ) throws(PodSocketFailure) {
        guard !isCut else { throw .nonsense("more than an answer has") }
        guard let answer = PodSocketAnswer(bytes) else {
            throw .nonsense("\(bytes.count) bytes that are none")
        }
        guard answer.request == request else { throw .nonsense("the answer to another request") }
        let expected = answer.failedStep == nil ? 1 : 0
        guard descriptorCount == expected else {
            throw .nonsense("an answer with \(descriptorCount) descriptors instead of \(expected)")
        }
        self = answer
    }
}
