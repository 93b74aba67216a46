package import Kernel

import Glibc
import Synchronization

/// Whether a sensor can be reached at present.
package enum SensorCheck {
    package enum Outcome: Sendable {
        case reached(SocketAddress)
        case unresolved(ResolveFailure)
        case failed(SocketAddress, SystemError)
    }

    /// As long as somebody waits for what does not answer.
    private static let connectMilliseconds: CInt = 3000
    /// Addresses of one name that are tried.
    private static let addressCountMax = 4
    private static let threadCountMax = 8

    /// Tries all of them at once. Waits for the resolver, and some seconds for the sensors.
    static func findings(_ settings: Settings) -> [Finding] {
        let sensors = settings.sensors
        guard !sensors.isEmpty || settings.passive != nil else {
            return [
                Finding(
                    .failed, "sensor", "none given",
                    meaning: "the agent has nobody to forward to, and exits with 64",
                    remedy: """
                        give \(Setting.sensors.option) or \(Setting.sensors.variable); or \
                        \(Setting.listen.option) for clients
                        """)
            ]
        }
        let outcomes = Outcomes()
        inParallel(sensors.count, threadCountMax: threadCountMax) { index in
            let outcome = outcome(sensors[index])
            outcomes.all.withLock { $0[index] = outcome }
        }
        return sensors.enumerated().compactMap { index, sensor in
            outcomes.all.withLock { $0[index] }.map { finding(sensor, $0) }
        }
    }

    private final class Outcomes: Sendable {
        let all = Mutex<[Int: Outcome]>([:])
    }

    private static func outcome(_ sensor: SensorName) -> Outcome {
        let addresses: [SocketAddress]
        do throws(ResolveFailure) {
            addresses = try resolve(sensor.host, port: sensor.port)
        } catch {
            return .unresolved(error)
        }
        var outcome: Outcome?
        for address in addresses.prefix(addressCountMax) {
            do throws(SystemError) {
                _ = try Connection(
                    to: address, milliseconds: connectMilliseconds, cancel: try Event())
                return .reached(address)
            } catch {
                // The first one that was tried says most.
                outcome = outcome ?? .failed(address, error)
            }
        }
        return outcome ?? .unresolved(ResolveFailure(host: sensor.host, reason: "no address"))
    }

    package static func finding(_ sensor: SensorName, _ outcome: Outcome) -> Finding {
        let name = "sensor"
        let waits = "the agent starts all the same, and tries again for as long as it runs"
        switch outcome {
        case .reached(let address):
            let from = "\(sensor)" == "\(address)" ? "" : " (\(address))"
            return .ok(name, "\(sensor)\(from) takes connections")
        case .unresolved(let failure):
            return Finding(
                .warning, name, "\(sensor) has no address: \(failure.reason)", meaning: waits,
                remedy: """
                    see the name, or give an address; with hostNetwork the cluster's own names need \
                    dnsPolicy: ClusterFirstWithHostNet
                    """)
        case .failed(let address, let error):
            return Finding(
                .warning, name, "\(address) cannot be reached: \(error.reason)", meaning: waits,
                remedy: advice(error, address.port))
        }
    }

    private static func advice(_ error: SystemError, _ port: UInt16) -> String {
        switch error.code {
        case ECONNREFUSED:
            """
            the host is there, but nothing listens at port \(port): on the sensor enable RPCAP on an \
            interface and add this port to it (ExtraHop: Connectivity, RPCAP settings), or see \
            \(Setting.sensorPort.option)
            """
        case ETIMEDOUT:
            """
            nothing answers: allow TCP port \(port), and what the sensor opens for the data, from the \
            nodes through firewalls, security groups and the sensor's own rules; and see the address
            """
        case ENETUNREACH, EHOSTUNREACH:
            "no route leads there, or a router says so: see the node's routes (`ip route get`)"
        case EACCES, EPERM:
            "the node's own firewall forbids it: allow TCP port \(port) to the sensor"
        default: "see the address, the port, and what is between"
        }
    }
}
