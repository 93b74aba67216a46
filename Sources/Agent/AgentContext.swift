import Frames
import Kernel
import Observation
import RPCAP

/// What the sessions of an agent share.
final class AgentContext: Sendable {
    let settings: Settings
    let devices: [Device]
    let places: [Place]
    /// Whether calls to services are looked up in connection tracking.
    let tracksConnections: Bool
    let sensors = SensorTable()
    /// Raised once, when the agent is to stop.
    let stop: Event
    private let surroundings: Surroundings

    init(
        _ settings: Settings, devices: [Device], places: [Place], surroundings: Surroundings,
        tracksConnections: Bool
    ) throws(SystemError) {
        self.settings = settings
        self.devices = devices
        self.places = places
        self.surroundings = surroundings
        self.tracksConnections = tracksConnections
        stop = try Event()
    }

    /// The rule as it is at this moment.
    func rule() -> Rule {
        var surroundings = surroundings
        surroundings.sensors = sensors.all
        return Rule(surroundings, deduplicates: settings.deduplicates)
    }
}
