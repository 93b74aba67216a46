package import Addressing

/// Settings as far as they can be understood, and what is wrong with the others.
///
/// An agent does not start with a fault. Who examines settings wants to know of all of them, and to go
/// on with the rest.
package struct ExaminedSettings: Sendable {
    /// The settings; those with a fault count as not given.
    package let settings: Settings
    /// The settings that cannot be understood or used, each once, without those that are missing.
    package let faults: [SettingFailure]
    /// What was given, in the order of the settings' table.
    package let given: [GivenSetting]
    /// The variables of the environment that look like settings and are none.
    package let unknownVariables: [UnknownVariable]
    /// The address of the cluster's API, which Kubernetes tells every container; nil elsewhere.
    package let kubernetesService: IPAddress?

    /// A setting that was given, as it was written.
    package struct GivenSetting: Equatable, Sendable {
        /// The setting.
        package let setting: Setting
        /// The text.
        package let text: String
        /// Whether it came with the option, or with the variable.
        package let isOption: Bool
    }

    /// Reads options first, then the environment, then the defaults.
    ///
    /// - Parameters:
    ///   - options: The texts that were given with options.
    ///   - variables: The names of all variables of the environment.
    ///   - environment: Returns the value of a variable, or nil if it is not set.
    package init(
        options: [Setting: String], variables: [String] = [], environment: (String) -> String?
    ) {
        let reader = SettingsReader(options: options, environment: environment)
        given = Setting.all.compactMap { setting in
            reader.text(of: setting).map {
                GivenSetting(setting: setting, text: $0.text, isOption: $0.isOption)
            }
        }
        (settings, faults) = Self.read(reader)
        unknownVariables = UnknownVariable.all(among: variables)
        kubernetesService = environment("KUBERNETES_SERVICE_HOST").flatMap { IPAddress($0) }
    }

    /// Settings of which one says what another one means.
    ///
    /// What is wrong with their combination after one of them was forgotten is that one's fault.
    private static let companions: [[Setting]] = [
        [.sensorPolicy, .sensors], [.listen, .allowed, .passwordFile, .nullLogin],
        [.tlsCertificate, .tlsKey, .tlsPeers],
    ]

    /// Reads, and forgets each setting with a fault, until there are none left.
    private static func read(
        _ reader: SettingsReader
    ) -> (settings: Settings, faults: [SettingFailure]) {
        var (reader, faults) = (reader, [SettingFailure]())
        // Once all are forgotten the defaults are left, which are always understood.
        for _ in 0...Setting.all.count {
            do throws(SettingFailure) {
                let settings = try Settings(reader, needsPeer: false, needsPodNetworks: false)
                return (settings, faults)
            } catch {
                reader.forget(error.setting)
                let isConsequence = companions.contains { group in
                    error.isOfCombination && group.contains(error.setting)
                        && faults.contains { group.contains($0.setting) }
                }
                if !isConsequence { faults.append(error) }
            }
        }
        preconditionFailure("the defaults of settings cannot be understood")
    }

    /// Whether there is a fault of one of these settings.
    package func hasFault(of settings: Setting...) -> Bool {
        faults.contains { settings.contains($0.setting) }
    }
}
