import Formats
import Settings

/// Checks whether the settings can be understood.
///
/// What is wrong with the pod networks is another check's, which knows what they should be.
enum SettingsCheck: DoctorCheck {
    static let id = "settings"
    static let title = "settings"

    static func findings(_ node: Examination) -> [Finding] {
        let examined = node.examined
        let faults = examined.faults.filter { $0.setting != .podNetworks }.map { fault in
            finding(
                .failed, "\(fault)", meaning: "the agent exits with 64",
                remedy: "correct \(fault.setting.option) or \(fault.setting.variable)")
        }
        let unknown = examined.unknownVariables.map { variable in
            finding(
                .warning, "\(variable)", meaning: UnknownVariable.effect,
                remedy: variable.nearest.map { "rename it \($0), or remove it" }
                    ?? "correct its name, or remove it: the page Settings has all names")
        }
        guard faults.isEmpty, unknown.isEmpty else { return faults + unknown }
        let count = examined.given.count
        return [ok(count == 0 ? "none given" : "\(count) given, the others have their defaults")]
    }
}
