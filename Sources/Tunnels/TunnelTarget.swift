package import Addressing

/// The receiver of a tunnel: its protocol, host, port and virtual network, as a URL names them.
///
/// The forms are `vxlan://HOST[:PORT][?vni=N]` and `geneve://HOST[:PORT][?vni=N]`. IPv6 addresses
/// stand in brackets. The port is 4789 or 6081 by default, and the virtual network's number is 1:
/// the analysers for which this is made ignore it, and 0 is often the number of no network.
package struct TunnelTarget: Hashable, Sendable, CustomStringConvertible {
    package let kind: TunnelProtocol
    package let host: String
    package let port: UInt16
    /// The number of the virtual network (VNI).
    package let network: UInt32

    /// The virtual network's number if the URL has none.
    package static let standardNetwork: UInt32 = 1

    /// Why a text is refused.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        /// It begins with no protocol that is known.
        case scheme
        /// The host or the port is wrong.
        case place(HostPort.Failure)
        case bareIPv6
        /// There is a user, which no tunnel has.
        case user
        /// There is a path, which no tunnel has.
        case path
        /// The query is not one `vni`.
        case query
        case network

        package var description: String {
            switch self {
            case .scheme:
                "it begins with "
                    + TunnelProtocol.allCases.map { "\($0.rawValue)://" }
                    .joined(separator: " or ")
            case .place(let failure): "\(failure)"
            case .bareIPv6: "an IPv6 address belongs in brackets, as in vxlan://[fd00::1]"
            case .user: "a tunnel has no user: there is an @ in it"
            case .path: "a tunnel has no path: nothing but ?vni=N follows the port"
            case .query: "the only parameter is the virtual network's number, as in ?vni=7"
            case .network:
                "vni is a number from \(TunnelHeader.networkRange.lowerBound) to "
                    + "\(TunnelHeader.networkRange.upperBound)"
            }
        }
    }

    /// Whether a text begins as a tunnel's URL does, right or wrong behind that.
    package static func isTunnel(_ text: some StringProtocol) -> Bool {
        scheme(of: text) != nil
    }

    /// A receiver by its parts.
    package init(_ kind: TunnelProtocol, host: String, port: UInt16, network: UInt32) {
        (self.kind, self.host, self.port, self.network) = (kind, host, port, network)
    }

    /// Reads one of the forms above.
    package init(_ text: some StringProtocol) throws(Failure) {
        guard let kind = Self.scheme(of: text) else { throw .scheme }
        let rest = text.dropFirst(kind.rawValue.count + Self.separator.count)
        let place = rest.prefix { $0 != "?" }
        let query = rest.dropFirst(place.count)
        guard !place.contains("@") else { throw .user }
        guard !rest.contains("/") else { throw .path }
        let name: HostPort
        do throws(HostPort.Failure) {
            name = try HostPort(place)
        } catch {
            throw .place(error)
        }
        guard place.hasPrefix("[") || !name.host.contains(":") else { throw .bareIPv6 }
        self.kind = kind
        host = name.host
        port = name.port ?? kind.standardPort
        network = try query.isEmpty ? Self.standardNetwork : Self.network(String(query))
    }

    private static let separator = "://"
    private static let parameter = "?vni="

    private static func scheme(of text: some StringProtocol) -> TunnelProtocol? {
        let start = text.prefix(16).lowercased()
        return TunnelProtocol.allCases.first { start.hasPrefix($0.rawValue + separator) }
    }

    private static func network(_ query: String) throws(Failure) -> UInt32 {
        guard query.hasPrefix(parameter) else { throw .query }
        let digits = query.dropFirst(parameter.count)
        guard !digits.contains("&") else { throw .query }
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let number = UInt32(digits), TunnelHeader.networkRange.contains(number)
        else { throw .network }
        return number
    }

    /// The header of the frames that are sent there.
    package var header: TunnelHeader { TunnelHeader(kind, network: network) }

    /// The URL in full: `"vxlan://sensor:4789?vni=1"`.
    package var description: String {
        kind.rawValue + Self.separator + HostPort(host: host, port: port).description
            + Self.parameter + "\(network)"
    }
}
