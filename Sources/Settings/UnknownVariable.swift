import Formats

/// A variable of the environment that looks like a setting and is none.
package struct UnknownVariable: Equatable, Sendable, CustomStringConvertible {
    /// The variable's name.
    package let name: String
    /// The variable that it is probably meant for; nil if none has a name like it.
    package let nearest: String?

    private static let prefix = "PODWIRE_"

    /// The variables with that prefix that other parts of podwire read.
    private static let ofOthers: Set<String> = [
        // `podwire collect`.
        "PODWIRE_COLLECT_PASSWORD",
        // The build.
        "PODWIRE_COMMIT", "PODWIRE_FUZZ",
    ]

    /// The unknown ones among the variables of an environment, in order.
    ///
    /// The variables that Kubernetes makes for a service whose name begins with `podwire` are none.
    package static func all(among names: [String]) -> [Self] {
        let known = ofOthers.union(Setting.all.map(\.variable))
        let services = names.filter { $0.hasSuffix(serviceMark) }.map {
            String($0.dropLast(serviceMark.count))
        }
        let isOfService = { (name: String) in
            services.contains { name.hasPrefix("\($0)_SERVICE_") || isPort(name, of: $0) }
        }
        return Set(names).sorted().filter { name in
            name.hasPrefix(prefix) && !known.contains(name) && !isOfService(name)
        }.map { Self(name: $0, nearest: nearest(to: $0)) }
    }

    private static let serviceMark = "_SERVICE_HOST"

    private static func isPort(_ name: String, of service: String) -> Bool {
        name == "\(service)_PORT" || name.hasPrefix("\(service)_PORT_")
    }

    private static func nearest(to name: String) -> String? {
        // People who know the option may take its name for the variable's.
        let pairs = Setting.all.flatMap { setting in
            [
                (setting.variable.lowercased(), setting.variable),
                (setting.name.replacing("-", with: "_"), setting.variable),
            ]
        }.map { (word($0), $1) }
        let words = Dictionary(pairs) { one, _ in one }
        let nearest = Spelling.nearest(
            to: word(name.lowercased()), among: pairs.map(\.0))
        return nearest.flatMap { words[$0] }
    }

    /// What is left of a name without the prefix, which all have in common.
    private static func word(_ name: String) -> String {
        String(name.hasPrefix(prefix.lowercased()) ? name.dropFirst(prefix.count) : name[...])
    }

    package var description: String {
        "\(name) is no setting" + (nearest.map { "; did you mean \($0)?" } ?? "")
    }

    /// What becomes of it.
    package static let effect = "it is ignored, and what was meant has its default"
}
