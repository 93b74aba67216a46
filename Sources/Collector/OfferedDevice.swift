import Addressing
import RPCAP

/// A device that an agent offers, in words for people.
package struct OfferedDevice: Equatable, Sendable {
    package let name: String
    package let description: String
    /// Its flags by name, such as `"up"`, in a fixed order.
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
        case Device.isDisconnected: flags.append("disconnected")
        default: break
        }
        self.flags = flags
        addresses = device.addresses.map(\.text)
    }

    private static let isWireless: UInt32 = 0x08
    /// The two bits that say whether the device is connected.
    private static let linkState = Device.isConnected | Device.isDisconnected

    /// The titles of a table's columns.
    package static let head = ["DEVICE", "FLAGS", "ADDRESSES", "DESCRIPTION"]

    /// A line of a table under `head`.
    package var row: [String] {
        [name, flags.joined(separator: ","), addresses.joined(separator: ","), description]
    }
}

extension Device.Address {
    /// The address, with the length of its network's prefix if the mask is one.
    fileprivate var text: String {
        guard let netmask, netmask.family == address.family else { return "\(address)" }
        let bits = netmask.bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 } }
        let count = bits.prefix { $0 == 1 }.count
        return bits[count...].contains(1) ? "\(address)" : "\(address)/\(count)"
    }
}
