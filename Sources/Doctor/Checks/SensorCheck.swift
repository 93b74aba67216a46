import Linux
import Settings

/// Checks whether the sensors can be reached.
enum SensorCheck: DoctorCheck {
    static let id = "sensor"
    static let title = "sensor"

    static func findings(_ node: Examination) -> [Finding] {
        let settings = node.settings
        guard !settings.sensors.isEmpty || settings.passive != nil else {
            return [
                finding(
                    .failed, "none given",
                    meaning: "the agent has nobody to forward to, and exits with 64",
                    remedy: """
                        set \(Setting.sensors.option) or \(Setting.sensors.variable); or \
                        \(Setting.listen.option), for clients that dial
                        """)
            ]
        }
        return node.sensors.map { finding($0.sensor, $0.outcome) }
    }

    private static func finding(
        _ sensor: SensorName, _ outcome: SensorTrial.Outcome
    ) -> Finding {
        let meaning = "the agent starts all the same, and tries again for as long as it runs"
        switch outcome {
        case .reached(let address):
            let from = "\(sensor)" == "\(address)" ? "" : " (\(address))"
            return ok("\(sensor)\(from) accepts connections")
        case .unresolved(let failure):
            return finding(
                .warning, "\(sensor) has no address: \(failure.reason)", meaning: meaning,
                remedy: """
                    correct the name, or set an address; with hostNetwork the cluster's own names \
                    need dnsPolicy: ClusterFirstWithHostNet
                    """)
        case .silent(let seconds):
            return finding(
                .warning, "\(sensor) has no answer yet, after \(seconds) s", meaning: meaning,
                remedy: """
                    check that the name servers of /etc/resolv.conf answer, or set an address \
                    instead of a name
                    """)
        case .failed(let address, let error):
            return finding(
                .warning, "\(address) cannot be reached: \(error.reason)", meaning: meaning,
                remedy: advice(error, address.port))
        }
    }

    private static func advice(_ error: SystemError, _ port: UInt16) -> String {
        switch error.errno {
        case .connectionRefused:
            """
            the host is there, but nothing listens at port \(port): on the sensor enable RPCAP on an \
            interface and add this port to it (ExtraHop: Connectivity, RPCAP settings), or correct \
            \(Setting.sensorPort.option)
            """
        case .timedOut:
            """
            allow TCP port \(port), and the ports that the sensor opens for the data, from the nodes \
            through firewalls, security groups and the sensor's own rules; check the address
            """
        case .networkUnreachable, .hostUnreachable:
            "no route leads there, or a router says so: check the node's routes (`ip route get`)"
        case .permissionDenied, .notPermitted:
            "the node's own firewall forbids it: allow TCP port \(port) to the sensor"
        default: "check the address, the port, and what is between"
        }
    }
}
