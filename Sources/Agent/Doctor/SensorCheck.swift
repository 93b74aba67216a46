package import Linux

import Glibc
import Synchronization
import Time

/// Whether a sensor can be reached at present.
package enum SensorCheck {
    package enum Outcome: Sendable {
        case reached(SocketAddress)
        case unresolved(ResolveFailure)
        case failed(SocketAddress, SystemError)
        case unanswered
    }

    /// As long as somebody waits for what does not answer.
    private static let connectMilliseconds: CInt = 3000
    /// Addresses of one name that are tried.
    private static let addressCountMax = 4
    private static let threadCountMax = 32
    /// A resolver whose servers are silent takes minutes, and an agent may wait for what comes out.
    private static let waitMilliseconds: CInt = 15_000

    /// Tries all of them at once, for some seconds.
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
        let outcomes = outcomes(sensors)
        return sensors.enumerated().map { finding($1, outcomes[$0] ?? .unanswered) }
    }

    /// What has come out in time, by the places of the sensors. Threads that still wait then are left to
    /// end with the program: nothing can call a resolver off.
    private static func outcomes(_ sensors: [SensorName]) -> [Int: Outcome] {
        guard !sensors.isEmpty, let outcomes = try? Outcomes() else { return [:] }
        let thread = try? Thread {
            inParallel(sensors.count, threadCountMax: threadCountMax) { index in
                let outcome = outcome(sensors[index])
                outcomes.all.withLock { $0[index] = outcome }
            }
            outcomes.areComplete.raise()
        }
        thread?.detach()
        _ = try? poll(
            [(outcomes.areComplete.fileDescriptor, .readable)], milliseconds: waitMilliseconds)
        return outcomes.all.withLock { $0 }
    }

    private final class Outcomes: Sendable {
        let all = Mutex<[Int: Outcome]>([:])
        let areComplete: Event

        init() throws(SystemError) { areComplete = try Event() }
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
                    to: address, until: .now + .milliseconds(connectMilliseconds),
                    cancel: try Event())
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
        case .unanswered:
            return Finding(
                .warning, name, "\(sensor) has no answer yet, after \(waitMilliseconds / 1000) s",
                meaning: waits,
                remedy: """
                    see that the name servers of /etc/resolv.conf answer, or give an address instead \
                    of a name
                    """)
        case .failed(let address, let error):
            return Finding(
                .warning, name, "\(address) cannot be reached: \(error.reason)", meaning: waits,
                remedy: advice(error, address.port))
        }
    }

    private static func advice(_ error: SystemError, _ port: UInt16) -> String {
        switch error.errno {
        case .connectionRefused:
            """
            the host is there, but nothing listens at port \(port): on the sensor enable RPCAP on an \
            interface and add this port to it (ExtraHop: Connectivity, RPCAP settings), or see \
            \(Setting.sensorPort.option)
            """
        case .timedOut:
            """
            nothing answers: allow TCP port \(port), and what the sensor opens for the data, from the \
            nodes through firewalls, security groups and the sensor's own rules; and see the address
            """
        case .networkUnreachable, .hostUnreachable:
            "no route leads there, or a router says so: see the node's routes (`ip route get`)"
        case .permissionDenied, .notPermitted:
            "the node's own firewall forbids it: allow TCP port \(port) to the sensor"
        default: "see the address, the port, and what is between"
        }
    }
}
