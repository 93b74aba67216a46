import Edges
import Linux
import Netlink
import Settings

/// Checks whether the sensors can be reached.
enum SensorCheck: DoctorCheck {
    static let id = "sensor"
    static let title = "sensor"

    static func findings(_ node: Examination) -> [Finding] {
        let settings = node.settings
        guard !settings.sensors.isEmpty || settings.passive != nil else {
            // What cannot be understood has a finding of its own.
            if node.examined.hasFault(of: .sensors, .listen, .allowed, .passwordFile, .nullLogin) {
                return []
            }
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
        return node.sensors.map { trial in
            if case .sendable(let address, let byteCount) = trial.outcome {
                return tunnelFinding(trial.sensor, address, byteCount, node)
            }
            return finding(trial.sensor, trial.outcome)
        }
    }

    /// What can be said of a tunnel, whose other end answers nothing.
    private static func tunnelFinding(
        _ sensor: SensorName, _ address: SocketAddress, _ byteCount: Int, _ node: Examination
    ) -> Finding {
        let settings = node.settings
        let from = sensor.host == "\(address.address)" ? "" : " (\(address))"
        let found = """
            datagrams go to \(sensor)\(from); nobody answers over UDP, so only the sensor can tell \
            whether they arrive
            """
        let longest = min(
            node.node?.capturedVeths.compactMap(\.link.mtu).max().map { Int($0) + 14 } ?? 0,
            settings.capture.snaplen)
        var meanings: [String] = []
        var remedies: [String] = []
        if longest > byteCount {
            meanings.append(
                """
                pods' frames of up to \(longest) bytes are longer than the \(byteCount) that the \
                route carries with a tunnel's headers: longer ones go as IP fragments, and some \
                networks and sensors drop those
                """)
            remedies.append(
                """
                raise the MTU of the route to the sensor by 50 bytes above the pods' \
                (IPv6: 70), or cut packets with \(Setting.snaplen.option) \(max(64, byteCount))
                """)
        }
        if settings.tls?.isForSensors == true {
            meanings.append("a tunnel has no TLS: who sees the datagrams can read them")
            remedies.append("feed it over RPCAP, or through a network that encrypts")
        }
        guard !meanings.isEmpty else { return ok(found) }
        return finding(
            .note, found, meaning: meanings.joined(separator: "; "),
            remedy: remedies.joined(separator: "; "))
    }

    private static func finding(
        _ sensor: SensorName, _ outcome: SensorTrial.Outcome
    ) -> Finding {
        let meaning = "the agent starts all the same, and tries again for as long as it runs"
        switch outcome {
        case .reached(let address):
            let from = "\(sensor)" == "\(address)" ? "" : " (\(address))"
            return ok("\(sensor)\(from) accepts connections")
        case .sendable(let address, _):
            return ok("datagrams go to \(address)")
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
