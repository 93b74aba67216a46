import Addressing
package import Linux
import RPCAP
import Security
import Time

/// A listing of the devices that an agent offers.
package enum DeviceListing {
    private static let connectTimeMax = Duration.seconds(10)
    private static let readByteCount = 64 << 10
    /// The time between two looks at the session's deadline.
    private static let lookInterval = Duration.seconds(1)

    /// Why an agent's devices are not known.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        package let description: String

        fileprivate init(_ description: String, remedy: String? = nil) {
            self.description = description + (remedy.map { "; \($0)" } ?? "")
        }

        fileprivate init(_ error: TLSFailure, of source: Source) {
            self.init(error.text, remedy: Remedy.text(for: error, of: source))
        }
    }

    private enum Key { case agent, cancel }

    /// Dials an agent, logs in and lists its devices.
    ///
    /// It waits for all that, at most 30 s for each reply. It gives up as soon as `cancel` is raised.
    package static func fetch(
        from source: Source, _ options: CaptureOptions, cancel: borrowing Event
    ) throws(Failure) -> [OfferedDevice] {
        let connection = try connect(to: source, cancel)
        let channel: Channel
        do throws(TLSFailure) {
            channel = try options.channel(over: connection, for: source)
        } catch {
            throw Failure(error, of: source)
        }
        return try list(over: channel, source, cancel).map { OfferedDevice($0, of: source) }
    }

    private static func connect(
        to source: Source, _ cancel: borrowing Event
    ) throws(Failure) -> Connection {
        let addresses: [SocketAddress]
        do throws(ResolveFailure) {
            addresses = try resolve(source.host, port: source.port)
        } catch {
            throw Failure("\(error)", remedy: Remedy.text(for: .noName))
        }
        var failure: SystemError?
        for address in addresses {
            do throws(SystemError) {
                return try Connection(to: address, until: .now + connectTimeMax, cancel: cancel)
            } catch {
                failure = SystemError("connect to \(address)", error.errno)
            }
        }
        guard let failure = failure.map({ Dialer.Failure($0) }) else {
            throw Failure("it has no address")
        }
        throw Failure("\(failure)", remedy: Remedy.text(for: failure.kind))
    }

    private static func list(
        over channel: consuming Channel, _ source: Source, _ cancel: borrowing Event
    ) throws(Failure) -> [Device] {
        var goal = ClientSession.Goal()
        goal.login = source.login
        goal.listsOnly = true
        var channel = channel
        var session = ClientSession(.passive, goal, now: .now)
        var (output, buffer) = ([UInt8](), [UInt8](repeating: 0, count: readByteCount))
        while true {
            while let action = session.nextAction(now: .now) {
                switch action {
                case .send(let bytes): output += bytes
                case .listed(let devices): return devices
                case .close(let reason):
                    throw Failure(
                        reason,
                        remedy: session.failure.flatMap { Remedy.text(for: $0, of: source) })
                default: break
                }
            }
            try send(&output, over: &channel, source)
            let isReady = try wait(for: channel, hasOutput: !output.isEmpty, cancel)
            session.expire(now: .now)
            guard isReady, let count = try receive(from: &channel, into: &buffer, source) else {
                continue
            }
            guard count > 0 else { throw Failure("the agent closed the connection") }
            session.receive(buffer[..<count])
        }
    }

    /// Waits for the agent, a second at most.
    ///
    /// - Returns: Whether there may be something to receive.
    private static func wait(
        for channel: borrowing Channel, hasOutput: Bool, _ cancel: borrowing Event
    ) throws(Failure) -> Bool {
        let hasBytes = channel.hasBytesToReceive
        let requests: [Key: (fileDescriptor: CInt, interest: Readiness)] = [
            .agent: (channel.fileDescriptor, channel.interest(hasOutput: hasOutput)),
            .cancel: (cancel.fileDescriptor, .readable),
        ]
        let ready: ReadyDescriptors<Key>
        do throws(SystemError) {
            ready = try poll(requests, until: hasBytes ? .zero : .now + lookInterval)
        } catch {
            throw Failure("\(error)")
        }
        guard !ready[.cancel].contains(.readable) else { throw Failure("cancelled") }
        return hasBytes || !ready[.agent].isDisjoint(with: [.readable, .failed])
    }

    private static func send(
        _ output: inout [UInt8], over channel: inout Channel, _ source: Source
    ) throws(Failure) {
        do throws(TLSFailure) {
            output.removeFirst(try channel.send(output[...]))
        } catch {
            throw Failure(error, of: source)
        }
    }

    private static func receive(
        from channel: inout Channel, into buffer: inout [UInt8], _ source: Source
    ) throws(Failure) -> Int? {
        do throws(TLSFailure) {
            return try channel.receive(into: &buffer)
        } catch {
            throw Failure(error, of: source)
        }
    }
}
