import Addressing
package import Formats
import RPCAP

/// A device that an agent offers, in words for people.
package struct OfferedDevice: Equatable, Sendable {
    package let name: String
    package let description: String
    /// Its flags by name, such as `"up"`, in a fixed order.
    package let flags: [String]
    package let addresses: [String]
    /// The URL that captures from it: `"rpcap://node1:2002/eth0"`.
    package let url: String

    init(_ device: Device, of source: Source) {
        name = device.name
        description = device.description
        url = source.url(ofDevice: device.name)
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

    /// A table of devices, for people: the URLs to copy, and what each is.
    package static func table(_ devices: [Self], in window: Window) -> String {
        let table = Table(
            [.word("DEVICE"), .sentence("DESCRIPTION")],
            devices.map { [Table.Cell($0.url), Table.Cell($0.words)] })
        return table.text(in: window)
    }

    /// What it is, the addresses that its description does not name, and what is unusual about it.
    private var words: String {
        let texts = description.isEmpty ? [] : [description]
        let unnamed = addresses.filter { address in
            !description.contains(address.prefix { $0 != "/" })
        }
        return (texts + [unnamed.joined(separator: ", ")].filter { !$0.isEmpty } + unusual)
            .joined(separator: "; ")
    }

    /// The flags without which a device is as others are.
    private static let usualFlags = ["up", "running", "connected"]

    private var unusual: [String] {
        let isDown = !flags.contains("up") || !flags.contains("running")
        return (isDown ? ["down"] : []) + flags.filter { !Self.usualFlags.contains($0) }
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
