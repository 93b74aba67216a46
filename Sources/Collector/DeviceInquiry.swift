package import Linux

import Addressing
import RPCAP
import Security
import Time

/// Something an agent can capture from.
package struct OfferedDevice: Equatable, Sendable {
    package let name: String
    package let description: String
    /// Such as `"up"`, in a fixed order.
    package let flags: [String]
    package let addresses: [String]

    init(_ device: Device) {
        name = ReplyText.printable(device.name)
        description = ReplyText.printableWords(device.description)
        let known: [(UInt32, String)] = [
            (Device.isUp, "up"), (Device.isRunning, "running"), (Device.isLoopback, "loopback"),
            (Self.isWireless, "wireless"),
        ]
        var flags = known.filter { device.flags & $0.0 != 0 }.map(\.1)
        switch device.flags & Self.linkState {
        case Device.isConnected: flags.append("connected")
        case Self.isDisconnected: flags.append("disconnected")
        default: break
        }
        self.flags = flags
        addresses = device.addresses.map(\.text)
    }

    private static let isWireless: UInt32 = 0x08
    private static let linkState: UInt32 = 0x30
    private static let isDisconnected: UInt32 = 0x20

    package static let head = ["DEVICE", "FLAGS", "ADDRESSES", "DESCRIPTION"]

    /// A line of a table under `head`.
    package var row: [String] {
        [name, flags.joined(separator: ","), addresses.joined(separator: ","), description]
    }
}

extension Device.Address {
    /// With the length of the network's prefix, if its mask is one.
    fileprivate var text: String {
        guard let netmask, netmask.family == address.family else { return "\(address)" }
        let bits = netmask.bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 } }
        let count = bits.prefix { $0 == 1 }.count
        return bits[count...].contains(1) ? "\(address)" : "\(address)/\(count)"
    }
}

/// Asks an agent what it can capture from.
package enum DeviceInquiry {
    private static let connectMillisecondsMax: CInt = 10_000
    private static let readByteCount = 64 << 10

    /// Why an agent cannot be asked.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        package let description: String

        fileprivate init(_ description: String) { self.description = description }
    }

    /// Dials, logs in and lists. Waits for all that, 30 s for each answer; gives up as soon as
    /// `cancel` is raised.
    package static func ask(
        _ source: Source, _ options: CaptureOptions, cancel: borrowing Event
    ) throws(Failure) -> [OfferedDevice] {
        do {
            let connection = try connect(to: source, cancel)
            let channel = try options.channel(over: connection, for: source)
            return try converse(channel, source, cancel).map { OfferedDevice($0) }
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure("\(error)")
        }
    }

    private static func connect(
        to source: Source, _ cancel: borrowing Event
    ) throws -> Connection {
        var failure: (any Error)?
        for address in try resolve(source.host, port: source.port) {
            do throws(SystemError) {
                return try Connection(
                    to: address, until: .now + .milliseconds(connectMillisecondsMax), cancel: cancel
                )
            } catch {
                failure = SystemError("connect to \(address)", error.errno)
            }
        }
        throw failure ?? Failure("it has no address")
    }

    private static func converse(
        _ channel: consuming Channel, _ source: Source, _ cancel: borrowing Event
    ) throws -> [Device] {
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
                case .close(let reason): throw Failure(reason)
                default: break
                }
            }
            output.removeFirst(try channel.send(output[...]))
            let ready = try poll(
                [
                    (channel.fileDescriptor, channel.interest(hasOutput: !output.isEmpty)),
                    (cancel.fileDescriptor, .readable),
                ], milliseconds: channel.hasBytesToReceive ? 0 : 1000)
            if ready[1].contains(.readable) { throw Failure("cancelled") }
            session.expire(now: .now)
            guard channel.hasBytesToReceive || !ready[0].isDisjoint(with: [.readable, .failed]),
                let count = try channel.receive(into: &buffer)
            else { continue }
            guard count > 0 else { throw Failure("the agent closed the connection") }
            session.receive(buffer[..<count])
        }
    }
}
