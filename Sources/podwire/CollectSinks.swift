import ArgumentParser
import Collector
import Linux
import Tunnels

extension CollectCommand.Settings {
    /// The most tunnels: each costs every packet a copy.
    private static let tunnelCountMax = 16

    /// Reads the outputs that take frames: interfaces and tunnels.
    static func frameSinks(
        _ command: CollectCommand
    ) throws(ValidationError) -> [any FrameSinkOptions] {
        var sinks: [any FrameSinkOptions] = []
        if let name = command.interface {
            if let fault = TapDevice.fault(inName: name) {
                throw ValidationError("--interface \(name): \(fault)")
            }
            sinks.append(InterfaceSinkOptions(name: name))
        }
        guard command.tunnel.count <= tunnelCountMax else {
            throw ValidationError("--tunnel: there are more than \(tunnelCountMax)")
        }
        var targets: Set<TunnelTarget> = []
        for text in command.tunnel {
            let target: TunnelTarget
            do throws(TunnelTarget.Failure) {
                target = try TunnelTarget(text)
            } catch {
                throw ValidationError(
                    "--tunnel \(text): \(error); the form is vxlan://HOST[:PORT][?vni=N]")
            }
            guard targets.insert(target).inserted else {
                throw ValidationError(
                    "--tunnel \(text): it is given twice, so every packet would be sent twice")
            }
            sinks.append(TunnelSinkOptions(target: target))
        }
        return sinks
    }
}
