import Addressing
package import Tunnels

/// The name or address of a sensor, with its port and how it is fed.
///
/// A name is resolved at each attempt to connect.
package struct SensorName: Hashable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: UInt16
    /// The tunnel whose other end the sensor is; nil if it is dialled over RPCAP.
    package let tunnel: TunnelTarget?
    /// Its size beside that of others, where each node feeds one of them.
    package private(set) var weight = 1

    /// The weights that a sensor can have.
    package static let weights = 1...100

    /// Why a text is refused: the end of a sentence, with what would be right.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Reads a host with its port or without one, or the URL of a tunnel.
    ///
    /// - Parameters:
    ///   - text: `"HOST"`, `"HOST:PORT"`, or a form of `TunnelTarget`; with a weight behind it or not:
    ///     `"HOST:PORT*2"`.
    ///   - standardPort: The port of a sensor that is given without scheme and port.
    /// - Throws: What is wrong with the text.
    package init(reading text: String, standardPort: UInt16) throws(Failure) {
        let place = text.prefix { $0 != "*" }
        if place.contains("://") {
            do throws(TunnelTarget.Failure) {
                let target = try TunnelTarget(place)
                (host, port, tunnel) = (target.host, target.port, target)
            } catch {
                let hint = error == .scheme ? ", or is a host for RPCAP" : ""
                throw Failure(description: "\(error)\(hint)")
            }
        } else {
            do throws(HostPort.Failure) {
                let name = try HostPort(place)
                (host, port, tunnel) = (name.host, name.port ?? standardPort, nil)
            } catch {
                throw Failure(description: "\(error)")
            }
        }
        guard place.endIndex != text.endIndex else { return }
        guard let weight = Int(text[place.endIndex...].dropFirst()), Self.weights.contains(weight)
        else {
            throw Failure(
                description: """
                    a weight is a number from \(Self.weights.lowerBound) to \(Self.weights.upperBound)
                    """)
        }
        self.weight = weight
    }

    /// Reads a text as above; nil if it is refused.
    package init?(_ text: String, standardPort: UInt16) {
        guard let name = try? Self(reading: text, standardPort: standardPort) else { return nil }
        self = name
    }

    /// The text that is read as the same sensor, without its weight.
    package var description: String {
        tunnel?.description ?? HostPort(host: host, port: port).description
    }
}
