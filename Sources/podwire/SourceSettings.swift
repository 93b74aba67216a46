import Addressing
import ArgumentParser
import BPF
import Collector
import Filter
import Formats
import Glibc
import Linux
import Security

/// The agents that packets come from, and what is asked of them: each option checked and understood.
struct SourceSettings {
    /// Where agents are waited for; nil for nowhere.
    let address: SocketAddress?
    /// The agents that are dialled.
    private(set) var sources: [Source]
    /// What is asked of all agents.
    var capture: CaptureOptions
    /// The time for which packets wait for earlier ones; nil for none.
    let orderWindow: Duration?

    /// The most sources, as many as there may be agents.
    private static let sourceCountMax = Collector.linkCountMax
    /// The longest password file: the password is in the first line, and short.
    private static let passwordFileByteCountMax = 4096

    /// Reads the options.
    ///
    /// - Parameters:
    ///   - options: The options.
    ///   - snaplen: The most bytes of a packet, unless the options say it.
    ///   - readsFiles: Whether files are read. Options are validated first without, since standard input
    ///     can be read once.
    /// - Throws: A `ValidationError` that says what would be right.
    init(_ options: SourceOptions, snaplen: Int, readsFiles: Bool) throws {
        address = try Self.address(options)
        let snaplen = options.snaplen ?? snaplen
        guard CaptureOptions.snaplenRange.contains(snaplen) else {
            throw ValidationError(
                "--snaplen \(snaplen): it takes a number \(Self.text(CaptureOptions.snaplenRange))")
        }
        capture = CaptureOptions(snaplen: snaplen, usesDatagrams: options.udp)
        if let count = options.agentsMax {
            guard AgentAdmission.capturingCounts.contains(count) else {
                throw ValidationError(
                    "--agents-max \(count): it takes a number \(Self.text(AgentAdmission.capturingCounts))"
                )
            }
            capture.agentCountMax = count
        }
        orderWindow = try Self.orderWindow(options.order)
        if let sample = options.sample, !capture.sample(sample) {
            throw ValidationError(
                "--sample \(sample): it takes 1/N with N from 2, or a time such as 10ms")
        }
        sources = try Self.sources(options)
        try readPod(options)
        try readFilter(options, readsFiles: readsFiles)
        if let twice = Self.firstDouble(sources) {
            throw ValidationError(
                "--from \(twice): it is given twice, so every packet would be recorded twice")
        }
        try checkTLS(options)
        if readsFiles { try readFiles(options) }
    }

    private static func address(
        _ options: SourceOptions
    ) throws(ValidationError) -> SocketAddress? {
        guard let text = options.listen ?? (options.from.isEmpty ? "2003" : nil) else {
            return nil
        }
        guard let address = SocketAddress(text) else {
            throw ValidationError(
                """
                --listen \(text) cannot be understood: it takes PORT, ADDRESS:PORT or [IPV6]:PORT
                """)
        }
        return address
    }

    /// The window of `--order`; nil if it is off.
    private static func orderWindow(_ text: String?) throws(ValidationError) -> Duration? {
        guard let text else { return TimeOrder.standardWindow }
        guard text != "off" else { return nil }
        let milliseconds = text.hasSuffix("ms") ? Int64(text.dropLast(2)) : nil
        // A number alone would be seconds elsewhere, but most windows are milliseconds.
        let seconds = text.last == "s" ? Duration(text: text) : nil
        guard let window = milliseconds.map({ .milliseconds($0) }) ?? seconds,
            TimeOrder.windowRange.contains(window)
        else {
            throw ValidationError(
                """
                --order \(text): it takes a time from 1ms to 10s with its unit, ms or s, such as \
                200ms, or off
                """)
        }
        return window
    }

    /// A range in words: `"from 1 to 9"`.
    private static func text(_ range: ClosedRange<Int>) -> String {
        "from \(range.lowerBound) to \(range.upperBound)"
    }

    private static func firstDouble(_ sources: [Source]) -> String? {
        var seen: Set<String> = []
        return sources.map(\.description).first { !seen.insert($0).inserted }
    }

    private static func sources(
        _ options: SourceOptions
    ) throws(ValidationError) -> [Source] {
        guard options.from.count <= sourceCountMax else {
            throw ValidationError("--from: there are more than \(sourceCountMax)")
        }
        return try options.from.enumerated().map { index, url throws(ValidationError) in
            do throws(Source.Failure) {
                return try Source(url: url)
            } catch {
                // The URL is not repeated: there may be a password in it.
                throw ValidationError(
                    """
                    --from, number \(index + 1): \(error); \
                    the form is rpcap[s]://[USER[:PASSWORD]@]HOST[:PORT][/DEVICE]
                    """)
            }
        }
    }
}

extension SourceSettings {
    private func checkTLS(_ options: SourceOptions) throws(ValidationError) {
        let isUsed = options.tls || sources.contains(where: \.isSecure)
        if options.tlsCa != nil, options.tlsInsecure {
            throw ValidationError("--tls-ca and --tls-insecure: give one of them")
        }
        guard isUsed || options.tlsCa == nil && !options.tlsInsecure else {
            throw ValidationError(
                "--tls-ca and --tls-insecure: they need --tls, or a source with rpcaps://")
        }
        guard !options.tls || address != nil else {
            throw ValidationError(
                "--tls: it is for agents that dial, and nobody listens: write rpcaps:// in --from")
        }
        guard !isUsed || !options.udp else {
            throw ValidationError("--udp: there is no TLS over UDP")
        }
        guard !options.tls || options.tlsCa != nil || options.tlsInsecure else {
            throw ValidationError(
                """
                --tls: agents that dial can have any name, so their certificates or their own \
                authority are needed: it takes --tls-ca FILE
                """)
        }
    }

    private mutating func readPod(_ options: SourceOptions) throws(ValidationError) {
        guard let text = options.pod else { return }
        guard let pod = PodName(text) else {
            throw ValidationError("--pod \(text): it takes NAMESPACE/NAME, such as shop/web-1")
        }
        guard !sources.isEmpty, options.listen == nil else {
            throw ValidationError(
                "--pod: agents that are dialled are asked for it: it takes --from, and no --listen")
        }
        if let source = sources.first(where: { $0.device != nil }) {
            throw ValidationError("--pod: --from \(source) names a device already")
        }
        capture.pod = pod
    }

    private mutating func readFilter(_ options: SourceOptions, readsFiles: Bool) throws {
        let given = [
            ("--filter", options.filter != nil), ("--filter-file", options.filterFile != nil),
            ("--bpf", options.bpf != nil),
        ].filter(\.1)
        guard given.count <= 1 else {
            throw ValidationError("\(given[0].0) and \(given[1].0): give one filter")
        }
        // Whatever else is wrong comes first: an unknown option would look like words of a filter.
        guard readsFiles, let filter = try options.filterExpression() else { return }
        capture.filter = filter.program.truncating(to: UInt32(capture.snaplen))
        capture.filterText = filter.text
    }

    private mutating func readTrust(_ options: SourceOptions) throws(TLSFailure) {
        let authority: TLSClient.Authority =
            options.tlsInsecure ? .unverified : options.tlsCa.map { .file($0) } ?? .system
        if sources.contains(where: \.isSecure) {
            capture.sourceTrust = try TLSClient(trusting: authority)
        }
        if options.tls { capture.dialledTrust = try TLSClient(trusting: authority) }
    }

    private mutating func readFiles(_ options: SourceOptions) throws {
        try readTrust(options)
        if let path = options.bpf {
            let bytes = try readInput(
                path, byteCountMax: TcpdumpFilter.byteCountMax, "--bpf",
                ofWords: """
                    its content is a compiled program, as tcpdump -ddd prints it. Words of a filter \
                    go with --filter, or without an option: podwire collect port 53
                    """)
            do throws(TcpdumpFilter.Failure) {
                capture.filter = try TcpdumpFilter.program(String(decoding: bytes, as: UTF8.self))
            } catch {
                throw ValidationError("--bpf \(path): \(error)")
            }
        }
        guard sources.contains(where: \.needsPassword) else {
            guard options.passwordFile == nil else {
                throw ValidationError(
                    "--password-file: no --from has a user without a password: rpcap://USER@HOST")
            }
            return
        }
        let password = try password(options)
        for index in sources.indices { sources[index].complete(password: password) }
    }

    private func password(_ options: SourceOptions) throws -> [UInt8] {
        if let path = options.passwordFile {
            let bytes = try readInput(
                path, byteCountMax: Self.passwordFileByteCountMax, "--password-file")
            var line = bytes.prefix { $0 != UInt8(ascii: "\n") }
            if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
            guard !line.isEmpty else {
                throw ValidationError("--password-file \(path): its first line is empty")
            }
            return Array(line)
        }
        if let password = environmentVariable("PODWIRE_COLLECT_PASSWORD"), !password.isEmpty {
            return Array(password.utf8)
        }
        guard isTerminal(STDIN_FILENO), let password = try askForPassword() else {
            throw ValidationError(
                """
                --from has a user and no password: it takes --password-file FILE, or the variable \
                PODWIRE_COLLECT_PASSWORD
                """)
        }
        return password
    }

    /// Asks at the terminal for the one password of all sources; nil if nothing is typed.
    private func askForPassword() throws(SystemError) -> [UInt8]? {
        let lacking = sources.filter(\.needsPassword)
        let name = lacking.count == 1 ? "\(lacking[0])" : "all \(lacking.count) agents of --from"
        let prompt = PasswordPrompt(byteCountMax: Self.passwordFileByteCountMax)
        return try prompt.ask(["Password for \(name): "]).first.flatMap { $0.isEmpty ? nil : $0 }
    }
}
