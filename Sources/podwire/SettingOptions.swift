import Settings
import ArgumentParser
import Glibc
import Linux

/// Options that stand for settings, shared by the commands that take them.
protocol SettingOptions {
    /// Each setting, and what was given for it.
    var values: [(Setting, String?)] { get }
}

/// Which edges are captured.
struct EdgeOptions: ParsableArguments, SettingOptions {
    @Option(
        help: """
            Networks that pods have their addresses in, comma-separated; an agent needs them. (PODNET)
            """)
    var podNetwork: String?

    @Option(help: "pods, or all to capture other veths, too. (PODWIRE_EDGES, default pods)")
    var edges: String?

    @Option(
        help: """
            Names of edges to capture whatever their pods' addresses are, with * and ?. \
            (PODWIRE_INCLUDE_EDGES)
            """)
    var includeEdges: String?

    @Option(
        help:
            "Names of edges not to capture, included or not, with * and ?. (PODWIRE_EXCLUDE_EDGES)"
    )
    var excludeEdges: String?

    var values: [(Setting, String?)] {
        [
            (.podNetworks, podNetwork), (.edges, edges), (.includedEdges, includeEdges),
            (.excludedEdges, excludeEdges),
        ]
    }
}

/// Where pods have their names.
struct NameOptions: ParsableArguments, SettingOptions {
    @Option(
        help: """
            Where container runtimes keep what CNI plug-ins have answered, for the names of pods, or \
            off. (PODWIRE_CNI_CACHE, default /var/lib/cni/results)
            """)
    var cniCache: String?

    var values: [(Setting, String?)] { [(.cniCache, cniCache)] }
}

/// What is not a pod.
struct ServiceOptions: ParsableArguments, SettingOptions {
    @Option(help: "Networks of service addresses, comma-separated. (SVCNET)")
    var serviceNetwork: String?

    @Option(
        help:
            "Addresses and networks inside the pod networks that no agent covers. (PODWIRE_UNCOVERED)"
    )
    var uncovered: String?

    var values: [(Setting, String?)] {
        [(.serviceNetworks, serviceNetwork), (.uncovered, uncovered)]
    }
}

/// Who may dial the agent.
struct PassiveOptions: ParsableArguments, SettingOptions {
    @Option(
        help: """
            Where clients can dial the agent: ADDRESS:PORT, [IPV6]:PORT, or PORT; their usual port \
            is 2002. (PODWIRE_LISTEN, default: nowhere)
            """)
    var listen: String?

    @Option(
        help: "Addresses and networks that clients may be in, comma-separated. (PODWIRE_ALLOW)")
    var allow: String?

    @Option(
        help: """
            Names and passwords of clients: a file that `podwire password` has made. \
            (PODWIRE_PASSWORD_FILE)
            """)
    var passwordFile: String?

    @Flag(
        help: """
            Let clients in without a password; only where --listen or --allow are private \
            networks. (PODWIRE_ALLOW_NULL_LOGIN)
            """)
    var allowNullLogin = false

    @Option(
        help: """
            The node's ports for data connections that clients open: a port or a range. \
            (PODWIRE_DATA_PORTS, default: any)
            """)
    var dataPorts: String?

    var values: [(Setting, String?)] {
        [
            (.listen, listen), (.allowed, allow), (.passwordFile, passwordFile),
            (.nullLogin, allowNullLogin ? "on" : nil), (.dataPorts, dataPorts),
        ]
    }
}

/// How feeds are kept from others' eyes.
struct TLSOptions: ParsableArguments, SettingOptions {
    @Option(
        help: """
            Speak TLS: the agent's certificate and those that lead to its root, \
            PEM. (PODWIRE_TLS_CERTIFICATE)
            """)
    var tlsCertificate: String?

    @Option(help: "The certificate's private key, PEM. (PODWIRE_TLS_KEY)")
    var tlsKey: String?

    @Option(
        help: "With whom: all, sensors or clients. (PODWIRE_TLS_PEERS, default all)")
    var tlsPeers: String?

    var values: [(Setting, String?)] {
        [(.tlsCertificate, tlsCertificate), (.tlsKey, tlsKey), (.tlsPeers, tlsPeers)]
    }
}

/// Reads settings from a command's options and the environment. One that cannot be understood ends
/// the program with a line about it.
func readSettings<Value>(
    _ command: String, _ groups: [any SettingOptions], _ more: [(Setting, String?)] = [],
    _ read: ([Setting: String], (String) -> String?) throws(SettingFailure) -> Value
) throws -> Value {
    let values = groups.flatMap(\.values) + more
    let options = Dictionary(
        uniqueKeysWithValues: values.compactMap { setting, value in value.map { (setting, $0) } })
    do throws(SettingFailure) {
        return try read(options, environmentVariable)
    } catch {
        writeToStandardError("podwire \(command): \(error)\n")
        throw Exit.usage
    }
}

/// A variable of the environment, or nil if it is not set.
func environmentVariable(_ name: String) -> String? {
    // Safety: nothing in this program changes the environment, so the text stays put.
    unsafe getenv(name).map { unsafe String(cString: $0) }
}
