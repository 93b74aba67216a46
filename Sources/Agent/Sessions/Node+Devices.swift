import Addressing
import Edges
import Netlink
import Observation
import RPCAP
import Settings

/// What the node offers to clients and sensors.
extension Node {
    /// The stream, and then each edge by the name of its interface.
    ///
    /// In active mode a sensor takes the one that bears a mark.
    func devices(_ settings: Settings, _ mode: ServerSession.Mode) -> [Device] {
        let stream = Device(
            name: settings.device, description: Device.streamDescription,
            isPreselected: mode == .active, addresses: streamAddresses(settings))
        return [stream] + capturedVeths.map(\.device)
    }

    /// Which scope a device stands for; nil if there is none of this name.
    func scope(ofDevice name: String, _ settings: Settings) -> CaptureScope? {
        if name == settings.device { return .stream }
        return capturedVeths.first { $0.link.name == name }.map {
            .edge(incarnation: $0.incarnation)
        }
    }

    /// The addresses by which a sensor's rule can choose the stream: the node's own ones, and one
    /// inside each pod network.
    private func streamAddresses(_ settings: Settings) -> [Device.Address] {
        let own = uplinkAddresses.map {
            Device.Address($0.address, prefixBitCount: $0.prefixBitCount)
        }
        let inside = settings.podNetworks.compactMap(address)
        var seen: Set<Device.Address> = []
        let addresses = (own + inside).filter { seen.insert($0).inserted }
        return Array(addresses.prefix(Self.streamAddressCountMax))
    }

    /// Each takes 512 bytes of a list that has to stay short.
    private static let streamAddressCountMax = 16

    /// The node's own address inside a network, if it has one (a bridge's), or else a pod's.
    private func address(inside network: IPNetwork) -> Device.Address? {
        let own = addresses.filter { network.contains($0.address) }.min { $0.address < $1.address }
        if let own { return Device.Address(own.address, prefixBitCount: own.prefixBitCount) }
        let pods = capturedVeths.flatMap { $0.podAddresses ?? [] }.filter(network.contains)
        return pods.min().map { Device.Address($0, prefixBitCount: network.prefixBitCount) }
    }
}

extension Veth {
    /// Its pod's addresses stand in the text alone: a sensor that chooses a device by addresses is
    /// to choose the stream.
    fileprivate var device: Device {
        let addresses = (podAddresses ?? []).filter { !$0.isLinkLocalIPv6 }
        let text = addresses.prefix(Self.addressCountMax).map(\.description)
            .joined(separator: ", ")
        let isMore = addresses.count > Self.addressCountMax
        return Device(
            name: link.name,
            description: (pod.map { "the pod \($0)" } ?? (text.isEmpty ? "a pod" : "the pod"))
                + (text.isEmpty ? "" : " at \(text)\(isMore ? " ..." : "")")
                + (tap.side == .pod ? ", captured inside" : ""),
            flags: link.isUp
                ? Device.isUp | Device.isRunning | Device.isConnected : Device.isDisconnected)
    }

    /// One of each family, as pods usually have.
    private static let addressCountMax = 2
}
