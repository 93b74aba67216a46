package import Linux

import HTTPEndpoint
import Addressing
import Glibc
import Time

/// Asks who answers at an address where an agent's endpoint may be: the one that has a port need not be
/// the one that was meant to have it.
package enum EndpointInquiry {
    /// An agent answers at once; who does not is taken for somebody else.
    private static let nanosecondsMax: UInt64 = 2_000_000_000
    /// The headers of an answer, and more.
    private static let answerByteCountMax = 4096

    /// Whether an agent answers there. Takes 2 s at most.
    package static func isAgent(at address: SocketAddress) -> Bool {
        let deadline = monotonicNanoseconds() + nanosecondsMax
        return address.reachable.contains { place in
            (try? answer(at: place, until: deadline)).map(isAgents) ?? false
        }
    }

    /// Whether it says in the headers of an answer over HTTP that it comes from an agent, whatever the
    /// answer is.
    package static func isAgents(_ answer: [UInt8]) -> Bool {
        let lines = String(decoding: answer, as: UTF8.self)
            .split(separator: "\r\n", omittingEmptySubsequences: false)
        guard lines.first?.hasPrefix("HTTP/1.") == true else { return false }
        // The last of the lines, if it is no empty one, may have been cut.
        guard let end = lines.firstIndex(of: "") else { return false }
        return lines[1..<end].contains { line in
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "server" else { return false }
            return parts[1].split(separator: " ").elementsEqual([Substring(Response.server)])
        }
    }

    private static func answer(
        at address: SocketAddress, until deadline: UInt64
    ) throws(SystemError) -> [UInt8] {
        let connection = try Connection(
            to: address, until: MonotonicTime(nanoseconds: deadline), cancel: try Event())
        let request = "GET /healthz HTTP/1.1\r\nHost: podwire\r\nConnection: close\r\n\r\n"
        // So little fits into any new connection's buffer.
        _ = try connection.send(Array(request.utf8)[...])
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: answerByteCountMax)
        while answer.count < answerByteCountMax, !isAgents(answer) {
            let ready = try poll(
                [(connection.fileDescriptor, .readable)],
                milliseconds: milliseconds(until: deadline))
            guard !ready[0].isEmpty else { break }
            guard let count = try connection.receive(into: &buffer) else { continue }
            guard count > 0 else { break }
            answer += buffer[..<count]
        }
        return answer
    }

    private static func milliseconds(until deadline: UInt64) -> CInt {
        CInt((deadline - min(deadline, monotonicNanoseconds())) / 1_000_000)
    }
}

extension SocketAddress {
    /// Where one connects who wants to reach what listens there: at all addresses means at loopback's,
    /// and at those of IPv6 at IPv4's, too.
    fileprivate var reachable: [SocketAddress] {
        guard address.high == 0, address.low == 0 else { return [self] }
        let loopback = [IPAddress(ipv4: 0x7f00_0001), IPAddress(ipv6High: 0, low: 1)]
        return loopback.prefix(address.family == .ipv4 ? 1 : 2).map {
            SocketAddress($0, port: port)
        }
    }
}
