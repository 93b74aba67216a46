import Addressing
import ArgumentParser
import BPF
import CaptureFiles
import Collector
import Formats
import Glibc
import Linux
import Security

extension CollectCommand {
    /// The options of `podwire collect`, each checked and understood.
    struct Settings {
        let address: SocketAddress?
        private(set) var sources: [Source] = []
        private(set) var outputs: OutputOptions
        private(set) var options: CaptureOptions

        /// The files; nil for none.
        var recording: RecordingOptions? { outputs.recording }

        /// The most sources, as many as there may be agents.
        private static let sourceCountMax = Collector.linkCountMax
        /// The longest password file: the password is in the first line, and short.
        private static let passwordFileByteCountMax = 4096

        /// Reads the options; throws a `ValidationError` that says what would be right.
        ///
        /// Options are validated first without reading files, since standard input can be read once.
        init(_ command: CollectCommand, readsFiles: Bool) throws {
            address = try Self.address(command)
            guard CaptureOptions.snaplenRange.contains(command.snaplen) else {
                throw ValidationError(
                    "--snaplen \(command.snaplen): it takes a number from 64 to 262144")
            }
            options = CaptureOptions(snaplen: command.snaplen, usesDatagrams: command.udp)
            outputs = try Self.outputs(command)
            outputs.orderWindow = try Self.orderWindow(command.order)
            if let sample = command.sample, !options.sample(sample) {
                throw ValidationError(
                    "--sample \(sample): it takes 1/N with N from 2, or a time such as 10ms")
            }
            sources = try Self.sources(command)
            try readNames(command)
            if let twice = Self.firstDouble(sources) {
                throw ValidationError(
                    "--from \(twice): it is given twice, so every packet would be recorded twice")
            }
            try checkTLS(command)
            if command.list, sources.isEmpty {
                throw ValidationError("--list: it needs --from, agents that dial are not asked")
            }
            if command.json, !command.list, recording?.path == "-" {
                throw ValidationError("--json: standard output is taken by --output -")
            }
            if readsFiles { try readFiles(command) }
        }

        private static func address(
            _ command: CollectCommand
        ) throws(ValidationError) -> SocketAddress? {
            guard let text = command.listen ?? (command.from.isEmpty ? "2003" : nil) else {
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
        private static func orderWindow(_ text: String) throws(ValidationError) -> Duration? {
            guard text != "off" else { return nil }
            let milliseconds = text.hasSuffix("ms") ? Int64(text.dropLast(2)) : nil
            guard let window = milliseconds.map({ .milliseconds($0) }) ?? Duration(text: text),
                TimeOrder.windowRange.contains(window)
            else {
                throw ValidationError(
                    "--order \(text): it takes a time from 1ms to 10s, such as 200ms, or off")
            }
            return window
        }

        private static func firstDouble(_ sources: [Source]) -> String? {
            var seen: Set<String> = []
            return sources.map(\.description).first { !seen.insert($0).inserted }
        }

        private static func sources(
            _ command: CollectCommand
        ) throws(ValidationError) -> [Source] {
            guard command.from.count <= sourceCountMax else {
                throw ValidationError("--from: there are more than \(sourceCountMax)")
            }
            return try command.from.enumerated().map { index, url throws(ValidationError) in
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
}

extension CollectCommand.Settings {
    private func checkTLS(_ command: CollectCommand) throws(ValidationError) {
        let isUsed = command.tls || sources.contains(where: \.isSecure)
        if command.tlsCa != nil, command.tlsInsecure {
            throw ValidationError("--tls-ca and --tls-insecure: give one of them")
        }
        guard isUsed || command.tlsCa == nil && !command.tlsInsecure else {
            throw ValidationError(
                "--tls-ca and --tls-insecure: they need --tls, or a source with rpcaps://")
        }
        guard !command.tls || address != nil else {
            throw ValidationError(
                "--tls: it is for agents that dial, and nobody listens: write rpcaps:// in --from")
        }
        guard !isUsed || !command.udp else {
            throw ValidationError("--udp: there is no TLS over UDP")
        }
        guard !command.tls || command.tlsCa != nil || command.tlsInsecure else {
            throw ValidationError(
                """
                --tls: agents that dial can have any name, so their certificates or their own \
                authority are needed: it takes --tls-ca FILE
                """)
        }
    }

    private mutating func readNames(_ command: CollectCommand) throws(ValidationError) {
        guard ["on", "off"].contains(command.names) else {
            throw ValidationError("--names \(command.names): it takes on or off")
        }
        options.wantsNames = command.names == "on"
        guard options.wantsNames || command.inventory == nil else {
            throw ValidationError(
                "--inventory: it has names of pods, so --names off leaves it empty")
        }
        guard let pod = command.pod else { return }
        guard CaptureOptions.isPod(pod) else {
            throw ValidationError("--pod \(pod): it takes NAMESPACE/NAME, such as shop/web-1")
        }
        guard !sources.isEmpty, command.listen == nil else {
            throw ValidationError(
                "--pod: agents that are dialled are asked for it: it takes --from, and no --listen")
        }
        if let source = sources.first(where: { $0.device != nil }) {
            throw ValidationError("--pod: --from \(source) names a device already")
        }
        options.pod = pod
    }

    private mutating func readTrust(_ command: CollectCommand) throws(TLSFailure) {
        let authority: TLSClient.Authority =
            command.tlsInsecure ? .unverified : command.tlsCa.map { .file($0) } ?? .system
        if sources.contains(where: \.isSecure) {
            options.sourceTrust = try TLSClient(trusting: authority)
        }
        if command.tls { options.dialledTrust = try TLSClient(trusting: authority) }
    }

    private mutating func readFiles(_ command: CollectCommand) throws {
        try readTrust(command)
        if let folder = command.inventory, !command.list {
            options.inventory = try Inventory(folder: folder)
        }
        if let path = command.bpf {
            let bytes = try Self.read(path, byteCountMax: TcpdumpFilter.byteCountMax, "--bpf")
            do throws(TcpdumpFilter.Failure) {
                options.filter = try TcpdumpFilter.program(String(decoding: bytes, as: UTF8.self))
            } catch {
                throw ValidationError("--bpf \(path): \(error)")
            }
        }
        guard sources.contains(where: \.needsPassword) else {
            guard command.passwordFile == nil else {
                throw ValidationError(
                    "--password-file: no --from has a user without a password: rpcap://USER@HOST")
            }
            return
        }
        let password = try password(command)
        for index in sources.indices { sources[index].complete(password: password) }
    }

    private func password(_ command: CollectCommand) throws -> [UInt8] {
        if let path = command.passwordFile {
            let bytes = try Self.read(
                path, byteCountMax: Self.passwordFileByteCountMax, "--password-file")
            var line = bytes.prefix { $0 != UInt8(ascii: "\n") }
            if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
            guard !line.isEmpty else {
                throw ValidationError("--password-file \(path): its first line is empty")
            }
            return Array(line)
        }
        guard let password = environmentVariable("PODWIRE_COLLECT_PASSWORD"), !password.isEmpty
        else {
            throw ValidationError(
                """
                --from has a user and no password: it takes --password-file FILE, or the variable \
                PODWIRE_COLLECT_PASSWORD
                """)
        }
        return Array(password.utf8)
    }

    private static func read(
        _ path: String, byteCountMax: Int, _ option: String
    ) throws -> [UInt8] {
        let descriptor =
            try path == "-"
            ? Descriptor(duplicatingStandardInput: ()) : Descriptor(reading: path)
        var bytes: [UInt8] = []
        while try descriptor.read(64 << 10, to: &bytes, path) {
            guard bytes.count <= byteCountMax else {
                throw ValidationError("\(option) \(path): it is longer than \(byteCountMax) bytes")
            }
        }
        return bytes
    }
}
