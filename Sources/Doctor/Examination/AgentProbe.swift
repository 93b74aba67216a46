import Addressing
import Glibc
import HTTPEndpoint
package import Linux
import Time

/// Asks whether an agent answers at an address.
///
/// The process that has an agent's port need not be an agent.
package enum AgentProbe {
    /// The longest wait: an agent answers at once.
    private static let waitMax = Duration.seconds(2)
    /// The most that is read of a response: its headers, and more.
    private static let responseByteCountMax = 4096

    /// Sends a request and returns whether an agent answers; blocks for up to 2 s.
    package static func probeAgent(at address: SocketAddress) -> Bool {
        let deadline = MonotonicTime.now + waitMax
        return address.reachable.contains { address in
            (try? response("/healthz", from: address, until: deadline, isEnough: isFromAgent))
                .map(isFromAgent) ?? false
        }
    }

    /// The most that is read of a page: that of a node with thousands of veths.
    private static let pageByteCountMax = 4 << 20

    /// Reads the senders that an agent knows as nobody's; blocks for up to 2 s.
    ///
    /// - Parameter addresses: Where the agent answers, if it runs.
    /// - Returns: Nil if no agent answers.
    package static func readSenders(at addresses: [SocketAddress]) -> [UnknownSender]? {
        page("/edges", of: addresses).map(UnknownSender.read)
    }

    /// Reads how many calls to services an agent knows and does not know; blocks for up to 2 s.
    ///
    /// - Parameter addresses: Where the agent answers, if it runs.
    /// - Returns: Nil if no agent answers.
    package static func readServiceCalls(at addresses: [SocketAddress]) -> ServiceCalls? {
        page("/metrics", of: addresses).map(ServiceCalls.read)
    }

    private static func page(_ path: String, of addresses: [SocketAddress]) -> String? {
        let deadline = MonotonicTime.now + waitMax
        for address in addresses.flatMap(\.reachable) {
            let page = try? response(
                path, from: address, until: deadline, byteCountMax: pageByteCountMax
            ) { _ in false }
            guard let page, isFromAgent(page) else { continue }
            return String(decoding: page, as: UTF8.self)
        }
        return nil
    }

    /// Whether a response over HTTP names an agent as its server, whatever its status is.
    package static func isFromAgent(_ response: [UInt8]) -> Bool {
        let lines = String(decoding: response, as: UTF8.self)
            .split(separator: "\r\n", omittingEmptySubsequences: false)
        guard lines.first?.hasPrefix("HTTP/1.") == true else { return false }
        // Without the empty line at the end the last header may be cut.
        guard let end = lines.firstIndex(of: "") else { return false }
        return lines[1..<end].contains { line in
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "server" else { return false }
            return parts[1].split(separator: " ").elementsEqual([Substring(Response.server)])
        }
    }

    private static func response(
        _ path: String, from address: SocketAddress, until deadline: MonotonicTime,
        byteCountMax: Int = responseByteCountMax, isEnough: ([UInt8]) -> Bool
    ) throws(SystemError) -> [UInt8] {
        let connection = try Connection(to: address, until: deadline, cancel: try Event())
        let request = "GET \(path) HTTP/1.1\r\nHost: podwire\r\nConnection: close\r\n\r\n"
        // The send buffer of a new connection has room for this.
        _ = try connection.send(Array(request.utf8)[...])
        var response: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: responseByteCountMax)
        while response.count < byteCountMax, !isEnough(response) {
            let ready = try poll([(connection.fileDescriptor, .readable)], until: deadline)
            guard !ready[0].isEmpty else { break }
            guard let count = try connection.receive(into: &buffer) else { continue }
            guard count > 0 else { break }
            response += buffer[..<count]
        }
        return response
    }
}

extension SocketAddress {
    /// The addresses to dial in order to reach a listener here.
    ///
    /// A listener at all addresses is dialled at the loopback's. IPv6 takes IPv4 as well.
    fileprivate var reachable: [SocketAddress] {
        guard address.high == 0, address.low == 0 else { return [self] }
        let loopback = [IPAddress(ipv4: 0x7f00_0001), IPAddress(ipv6High: 0, low: 1)]
        return loopback.prefix(address.family == .ipv4 ? 1 : 2).map {
            SocketAddress($0, port: port)
        }
    }
}
