import Addressing
import Glibc
package import Linux

/// The two ends of a conversation in datagrams on a loopback, each at a port of its own.
package enum Datagrams {
    /// The port of the sender.
    package static let here: UInt16 = 20_000
    /// The port of the receiver.
    package static let there: UInt16 = 20_001

    /// A text that is no IP address.
    package struct AddressFailure: Error {
        /// The text.
        package let text: String
    }

    /// An address of a host that is given as text.
    package static func address(_ host: String, _ port: UInt16) throws -> SocketAddress {
        guard let address = IPAddress(host) else { throw AddressFailure(text: host) }
        return SocketAddress(address, port: port)
    }

    /// Opens the socket of the sender.
    package static func sender(
        _ host: String = "127.0.0.1", _ fragmentation: DatagramSender.Fragmentation = .refused
    ) throws -> DatagramSender {
        try DatagramSender(
            to: try address(host, there), from: here...here, fragmentation: fragmentation)
    }

    /// Opens the socket of the receiver.
    package static func receiver(_ host: String = "127.0.0.1") throws -> DatagramSender {
        try DatagramSender(
            to: try address(host, here), from: there...there, fragmentation: .allowed)
    }

    /// Receives datagrams until there are `count`, or nothing more comes.
    package static func received(
        _ receiver: borrowing DatagramSender, count: Int = .max
    ) throws -> [[UInt8]] {
        var datagrams: [[UInt8]] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while datagrams.count < count,
            try poll([(receiver.fileDescriptor, .readable)], milliseconds: 300)[0]
                .contains(.readable)
        {
            // Safety: the call writes at most as many bytes as the buffer has.
            let length = unsafe recv(
                receiver.fileDescriptor, &buffer, buffer.count, CInt(MSG_DONTWAIT))
            if length >= 0 { datagrams.append(Array(buffer[..<length])) }
        }
        return datagrams
    }

    /// Waits until the kernel reports a closed port, a minute at most.
    ///
    /// The kernel limits how many such errors it sends in a second, for all network namespaces together.
    package static func awaitErrors() throws {
        for _ in 0..<600 {
            let probe = try sender()
            var batch = DatagramBatch()
            batch.append(byteCount: 1)
            _ = probe.send(&batch)
            if try poll([(probe.fileDescriptor, .readable)], milliseconds: 100)[0] != [] { return }
        }
    }
}
