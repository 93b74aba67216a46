import ArgumentParser
import Filter

/// The options that say from which agents packets come, and how.
struct SourceOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            An agent to dial, and to dial again when it is gone: \
            rpcap://[USER[:PASSWORD]@]HOST[:PORT][/DEVICE], or rpcaps for TLS. By default it uses \
            port 2002, no login, and the device that the agent prefers. Can be given more than once.
            """, valueName: "URL"),
        completion: .list(["rpcap://", "rpcaps://"]))
    var from: [String] = []

    @Option(
        help: ArgumentHelp(
            """
            Where to listen: PORT, ADDRESS:PORT or [IPV6]:PORT. (default: 2003; nowhere with --from)
            """, valueName: "[ADDRESS:]PORT"))
    var listen: String?

    @Option(
        help: ArgumentHelp(
            """
            The most agents that dial and are captured from at a time, 1 to 5120. (default: 5120)
            """, valueName: "COUNT"))
    var agentsMax: Int?

    @Option(
        help: ArgumentHelp(
            "A file whose first line is the password for --from.", valueName: "FILE"),
        completion: .file())
    var passwordFile: String?

    @Flag(help: "Use TLS with agents that dial. For those of --from, write rpcaps in the URL.")
    var tls = false

    @Option(
        help: ArgumentHelp(
            """
            For TLS: a PEM file with the certificates of agents, or of the authority that signs \
            them. (default for rpcaps: the authorities that this machine trusts)
            """, valueName: "FILE"),
        completion: .file(extensions: ["pem", "crt", "cer"]))
    var tlsCa: String?

    @Flag(
        help: """
            For TLS: accept any certificate. Anyone between here and the agent can then read and \
            change everything.
            """)
    var tlsInsecure = false

    @Option(
        help: ArgumentHelp(
            """
            The most bytes of a packet to ask agents for, 64 to 262144. (default: 262144; of \
            `podwire top` 256)
            """, valueName: "BYTES"))
    var snaplen: Int?

    @Option(
        help: ArgumentHelp(
            """
            Ask agents for the packets that a filter lets pass, in the words of pcap-filter(7), such \
            as 'port 53 and host 10.1.2.3'. They match packets as they report them: calls to a \
            service have the address of its pod, and what the kernel cuts into segments is still whole.
            """, valueName: "FILTER"))
    var filter: String?

    @Option(
        help: ArgumentHelp(
            """
            A file with such a filter, or - for standard input. Lines that begin with # are comments.
            """, valueName: "FILE"),
        completion: .file())
    var filterFile: String?

    @Flag(help: "Look up the addresses of hosts' names in a filter, once.")
    var resolve = false

    @Option(
        help: ArgumentHelp(
            """
            A file, or - for standard input, with a filter as `tcpdump -y EN10MB -ddd EXPRESSION` \
            prints it. The packets of agents are Ethernet frames.
            """, valueName: "FILE"),
        completion: .file())
    var bpf: String?

    @Flag(help: "Ask for packets as UDP datagrams. They never hold up an agent, but may get lost.")
    var udp = false

    @Option(
        help: ArgumentHelp(
            """
            Ask for one packet in N, as 1/N, or for one packet in an interval, such as 10ms. Some \
            agents agree and send all packets nevertheless.
            """, valueName: "1/N|TIME"),
        completion: .list(["1/10", "1/100", "1/1000", "10ms", "100ms"]))
    var sample: String?

    @Option(
        help: ArgumentHelp(
            """
            Write packets in the order of their time stamps: hold each for this time, since others \
            may come late, 1ms to 10s. With off, write them as they come. (default: 1s)
            """, valueName: "TIME|off"),
        completion: .list(["off", "200ms", "1s", "3s"]))
    var order: String?

    @OptionGroup(title: "Log") var log: LogOptions

    @Option(
        help: ArgumentHelp(
            """
            NAMESPACE/NAME of a pod: capture it alone, from the agent of --from that has it. While none \
            has it, they are asked again.
            """, valueName: "NAMESPACE/NAME"))
    var pod: String?

    /// The first of these options that was given; nil if none was.
    var firstGiven: String? {
        let all: [(String, Bool)] = [
            ("--from", !from.isEmpty), ("--listen", listen != nil),
            ("--agents-max", agentsMax != nil),
            ("--password-file", passwordFile != nil), ("--tls", tls), ("--tls-ca", tlsCa != nil),
            ("--tls-insecure", tlsInsecure), ("--snaplen", snaplen != nil), ("--bpf", bpf != nil),

            ("--udp", udp), ("--sample", sample != nil), ("--order", order != nil),
            ("--pod", pod != nil), ("--log-level", log.logLevel != nil),
            ("--log-format", log.logFormat != nil),
        ]
        return all.first { $0.1 }?.0
    }

    /// The filter in words, compiled.
    ///
    /// - Returns: The filter; nil if there is none.
    /// - Throws: A `ValidationError` with the place of what is wrong.
    func filterExpression() throws -> FilterExpression? {
        try FilterOptions(filter, file: filterFile, resolves: resolve).expression
    }
}
