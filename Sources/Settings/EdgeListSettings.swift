/// The settings of an agent that show in the list of its edges.
package struct EdgeListSettings: Sendable {
    package var selection: EdgeSelection
    /// Whether `PODNET` is there and empty, which stands for the on-link networks of the default
    /// route's interface.
    package let takesOnLinkPodNetworks: Bool
    /// The folder with the results of CNI plug-ins, for the names of pods; nil for no names.
    package let nameFolder: String?
    /// Where edges are captured.
    package let taps: TapSettings

    package init(
        options: [Setting: String], environment: (String) -> String?
    ) throws(SettingFailure) {
        let reader = SettingsReader(options: options, environment: environment)
        selection = try EdgeSelection(reader)
        takesOnLinkPodNetworks = reader.isEmptyVariable(.podNetworks)
        nameFolder = try reader.one(.cniCache, Settings.nameFolder)
        taps = try TapSettings(reader)
    }
}
