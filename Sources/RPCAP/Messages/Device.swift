package import Addressing

/// A device that can be captured from, as an entry of a list of interfaces.
package struct Device: Equatable, Sendable {
    package var name: String
    package var description: String
    package var flags: UInt32
    package var addresses: [Address]

    /// An address of a device.
    package struct Address: Hashable, Sendable {
        package let address: IPAddress
        package let netmask: IPAddress?

        package init(_ address: IPAddress, netmask: IPAddress? = nil) {
            (self.address, self.netmask) = (address, netmask)
        }

        /// Creates an address with the netmask of its network.
        package init(_ address: IPAddress, prefixBitCount: Int) {
            let mask = IPNetwork(address, prefixBitCount: prefixBitCount).mask
            self.address = address
            netmask =
                address.family == .ipv4
                ? IPAddress(ipv4: UInt32(truncatingIfNeeded: mask.low))
                : IPAddress(ipv6High: mask.high, low: mask.low)
        }
    }

    package static let isLoopback: UInt32 = 0x01
    package static let isUp: UInt32 = 0x02
    package static let isRunning: UInt32 = 0x04
    package static let isConnected: UInt32 = 0x10
    package static let isDisconnected: UInt32 = 0x20

    /// The longest name or description: libpcap's client refuses a list with a longer one.
    static let textByteCountMax = 1024

    /// The end of the description of the device that a sensor takes in active mode.
    package static let preselectedMark = ";preselected"

    /// The description of podwire's stream, without the mark.
    ///
    /// `podwire collect` knows by it that the agent leaves its own feed out.
    package static let streamDescription = "every pod of this node, each packet once"

    package init(
        name: String, description: String = "", isPreselected: Bool = false,
        flags: UInt32 = isUp | isRunning | isConnected, addresses: [Address] = []
    ) {
        self.name = name
        let space = description.isEmpty || !isPreselected ? "" : " "
        self.description = description + space + (isPreselected ? Self.preselectedMark : "")
        self.flags = flags
        self.addresses = addresses
    }

    package var isPreselected: Bool { description.hasSuffix(Self.preselectedMark) }

    /// Whether it is the stream of a podwire agent, by its description.
    package var isStream: Bool {
        description == Self.streamDescription
            || description == "\(Self.streamDescription) \(Self.preselectedMark)"
    }
}

extension Device {
    /// The payload of a list.
    ///
    /// Some clients count its length in 16 bits. What goes beyond 60,000 bytes is left out, addresses
    /// first, and those of the last devices first.
    static func encode(_ devices: [Device]) -> (count: UInt16, payload: [UInt8]) {
        var room = listByteCountMax
        let listed = devices.prefix { device in
            room -= device.headByteCount
            return room >= 0
        }
        room = listByteCountMax - listed.reduce(0) { $0 + $1.headByteCount }
        var payload: [UInt8] = []
        for device in listed {
            let addressCount = min(device.addresses.count, room / addressByteCount)
            room -= addressCount * addressByteCount
            payload += device.encoded(addressCount: addressCount)
        }
        return (UInt16(listed.count), payload)
    }

    static let listByteCountMax = 60_000
    private static let addressByteCount = 512
    private static let slotByteCount = 128

    private var texts: ([UInt8], [UInt8]) {
        (
            [UInt8](name.utf8.prefix(Self.textByteCountMax)),
            [UInt8](description.utf8.prefix(Self.textByteCountMax))
        )
    }

    private var headByteCount: Int { 12 + texts.0.count + texts.1.count }

    private func encoded(addressCount: Int) -> [UInt8] {
        let (name, description) = texts
        var bytes: [UInt8] = []
        bytes.append(bigEndian: UInt16(name.count))
        bytes.append(bigEndian: UInt16(description.count))
        bytes.append(bigEndian: flags)
        bytes.append(bigEndian: UInt16(addressCount))
        bytes.append(bigEndian: UInt16(0))
        bytes += name + description
        for address in addresses.prefix(addressCount) {
            bytes += Self.slot(address.address) + Self.slot(address.netmask)
            // No broadcast and no point-to-point address.
            bytes += Self.slot(nil) + Self.slot(nil)
        }
        return bytes
    }

    /// A socket address in its slot of 128 bytes.
    ///
    /// IPv6 has Windows' number for it, which every client knows on every system.
    private static func slot(_ address: IPAddress?) -> [UInt8] {
        var bytes: [UInt8] = []
        if let address {
            bytes.append(bigEndian: address.family == .ipv4 ? UInt16(2) : 23)
            bytes.append(bigEndian: UInt16(0))
            if address.family == .ipv6 { bytes.append(bigEndian: UInt32(0)) }
            bytes += address.bytes
        }
        return bytes + [UInt8](repeating: 0, count: slotByteCount - bytes.count)
    }

    /// Reads a list as a client does.
    ///
    /// Addresses of other families are ignored.
    static func decode(count: Int, _ payload: RawSpan) throws(ProtocolFailure) -> [Device] {
        var devices: [Device] = []
        var offset = 0
        for _ in 0..<count {
            guard offset + 12 <= payload.byteCount else { throw .tooShort("interface list") }
            let nameCount = Int(payload.uint16(at: offset))
            let descriptionCount = Int(payload.uint16(at: offset + 2))
            let addressCount = Int(payload.uint16(at: offset + 8))
            let flags = payload.uint32(at: offset + 4)
            let texts = offset + 12
            let addresses = texts + nameCount + descriptionCount
            let end = addresses + addressCount * addressByteCount
            guard end <= payload.byteCount else { throw .tooShort("interface list") }
            guard max(nameCount, descriptionCount) <= textByteCountMax else {
                throw .malformed("an interface's name or description is too long")
            }
            var device = Device(name: text(payload, texts, nameCount), flags: flags)
            device.description = text(payload, texts + nameCount, descriptionCount)
            for index in 0..<addressCount {
                let slot = addresses + index * addressByteCount
                guard let address = address(payload, at: slot) else { continue }
                let netmask = Self.address(payload, at: slot + slotByteCount)
                device.addresses.append(Address(address, netmask: netmask))
            }
            devices.append(device)
            offset = end
        }
        return devices
    }

    private static func text(_ bytes: RawSpan, _ offset: Int, _ count: Int) -> String {
        String(decoding: bytes.extracting(offset..<offset + count).array, as: UTF8.self)
    }

    /// Reads a socket address.
    ///
    /// IPv6 has another number on each system that captures.
    private static func address(_ bytes: RawSpan, at offset: Int) -> IPAddress? {
        switch bytes.uint16(at: offset) {
        case 2: IPAddress(.ipv4, bytes, at: offset + 4)
        case 10, 22, 23, 24, 26, 28, 30: IPAddress(.ipv6, bytes, at: offset + 8)
        default: nil
        }
    }
}
