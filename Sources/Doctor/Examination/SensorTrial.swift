import Glibc
package import Linux
package import Settings
import Time
import Tunnels

/// The result of dialling a sensor.
package struct SensorTrial: Sendable {
    /// The sensor.
    package let sensor: SensorName
    /// What came of it.
    package let outcome: Outcome

    /// What came of dialling a sensor.
    package enum Outcome: Sendable {
        case reached(SocketAddress)
        /// Datagrams can be sent to an address, whose route carries frames of this length uncut.
        case sendable(SocketAddress, frameByteCountMax: Int)
        case unresolved(ResolveFailure)
        case failed(SocketAddress, SystemError)
        /// Nothing yet, after a number of seconds.
        case silent(seconds: Int)
    }

    /// A trial by its parts.
    package init(_ sensor: SensorName, _ outcome: Outcome) {
        (self.sensor, self.outcome) = (sensor, outcome)
    }

    /// The longest wait for one connection.
    private static let connectMax = Duration.seconds(3)
    /// The most addresses of one name that are tried.
    private static let addressCountMax = 4
    private static let threadCountMax = 32
    /// The longest wait for all sensors.
    ///
    /// A resolver whose servers are silent takes minutes, and an agent may wait for the doctor.
    private static let waitMaxSeconds = 15

    /// Dials all sensors at once, and waits for up to 15 s.
    ///
    /// Nothing can cancel a resolver: threads that still wait then end with the program.
    static func dial(_ sensors: [SensorName]) -> [SensorTrial] {
        let silent = sensors.map { SensorTrial($0, .silent(seconds: waitMaxSeconds)) }
        guard !sensors.isEmpty,
            let results = try? Mailbox<(index: Int, outcome: Outcome)>(countMax: sensors.count),
            let thread = try? Thread({
                inParallel(sensors.count, threadCountMax: threadCountMax) { index in
                    results.send((index, outcome(of: sensors[index])))
                }
            })
        else { return silent }
        thread.detach()
        var trials = silent
        var missingCount = sensors.count
        let deadline = MonotonicTime.now + .seconds(waitMaxSeconds)
        while missingCount > 0, .now < deadline {
            for (index, outcome) in results.takeAll(waitingUntil: deadline) {
                trials[index] = SensorTrial(sensors[index], outcome)
                missingCount -= 1
            }
        }
        return trials
    }

    private static func outcome(of sensor: SensorName) -> Outcome {
        let addresses: [SocketAddress]
        do throws(ResolveFailure) {
            addresses = try resolve(sensor.host, port: sensor.port)
        } catch {
            return .unresolved(error)
        }
        var outcome: Outcome?
        for address in addresses.prefix(addressCountMax) {
            do throws(SystemError) {
                guard sensor.tunnel == nil else {
                    let sender = try DatagramSender(to: address, fragmentation: .allowed)
                    let byteCount = try sender.payloadByteCountMax() - TunnelHeader.byteCount
                    return .sendable(address, frameByteCountMax: byteCount)
                }
                _ = try Connection(to: address, until: .now + connectMax, cancel: try Event())
                return .reached(address)
            } catch {
                // The first address says most.
                outcome = outcome ?? .failed(address, error)
            }
        }
        return outcome ?? .unresolved(ResolveFailure(host: sensor.host, reason: "no address"))
    }
}
