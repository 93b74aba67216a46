import Addressing
import ArgumentParser
import CaptureFiles
import Collector
import Formats
import Glibc
import Linux

extension CaptureFormat: ExpressibleByArgument {}

/// Where packets go.
extension CollectCommand.Settings {
    private static let rotateByteCountMin: UInt64 = 1 << 20
    /// The most networks of --allow; who has more means a larger one.
    private static let allowedCountMax = 256

    /// Reads the options of all outputs.
    ///
    /// There is a file by default, but not where packets go elsewhere.
    static func outputs(_ command: CollectCommand) throws(ValidationError) -> OutputOptions {
        var options = OutputOptions()
        options.feed = try feed(command)
        options.frameSinks = try frameSinks(command)
        options.flows = try flows(command)
        let isOnlyOutput =
            options.feed.isEmpty && options.frameSinks.isEmpty && options.flows == nil
        options.recording = try recording(command, isDefault: isOnlyOutput)
        if let count = command.count {
            guard count > 0 else {
                throw ValidationError("--count \(count): it takes a number from 1 on")
            }
            options.packetCountMax = UInt64(count)
        }
        return options
    }

    private static func flows(
        _ command: CollectCommand
    ) throws(ValidationError) -> FlowOptions? {
        guard let path = command.flows else { return nil }
        guard path != "-" else {
            throw ValidationError(
                "--flows -: the file is replaced again and again, which standard output cannot be")
        }
        guard path != command.file else {
            throw ValidationError("--flows \(path): --output writes that file")
        }
        return FlowOptions(path: path)
    }

    private static func recording(
        _ command: CollectCommand, isDefault: Bool
    ) throws(ValidationError) -> RecordingOptions? {
        let isPcap = command.file?.hasSuffix(".pcap") ?? false
        let encoder = (command.format ?? (isPcap ? .pcap : .pcapng)).encoder
        guard
            let path = command.file
                ?? (isDefault
                    ? "podwire-\(TimeStamp.forFileName()).\(encoder.fileExtension)" : nil)
        else {
            let isMeant =
                command.rotateSize != nil || command.rotateTime != nil || command.keep != nil
                || command.splitLinkTypes
            guard !isMeant else {
                throw ValidationError(
                    "the options of files need one beside other outputs: name it with --output"
                )
            }
            return nil
        }
        var recording = RecordingOptions(path: path, encoder: encoder)
        try setRotation(of: &recording, command)
        recording.splitsLinkTypes = command.splitLinkTypes
        if recording.splitsLinkTypes, recording.path == "-" {
            throw ValidationError(
                "--split-link-types: standard output is one file: name a file with --output")
        }
        if path == "-", !command.list, isTerminal(STDOUT_FILENO) {
            throw ValidationError(
                "--output -: standard output is a terminal, which shows no packets: give them to a "
                    + "program, as in podwire collect --output - | tshark -r -, or name a file")
        }
        if recording.rotates, recording.path == "-" {
            throw ValidationError(
                "standard output cannot be rotated: name a file with --output")
        }
        return recording
    }

    private static func setRotation(
        of recording: inout RecordingOptions, _ command: CollectCommand
    ) throws(ValidationError) {
        if let text = command.rotateSize {
            recording.fileByteCountMax = ByteCount(text)?.value
            guard let byteCount = recording.fileByteCountMax, byteCount >= rotateByteCountMin
            else {
                throw ValidationError(
                    "--rotate-size \(text): it takes a size such as 100MiB, at least 1MiB")
            }
        }
        if let text = command.rotateTime {
            recording.fileTimeMax = Duration(text: text)
            guard let time = recording.fileTimeMax, time > .zero else {
                throw ValidationError(
                    "--rotate-time \(text): it takes a time such as 60s, 5m or 1h")
            }
        }
        if let count = command.keep {
            guard RecordingOptions.keptFileCounts.contains(count) else {
                throw ValidationError("--keep \(count): it takes a number from 2 to 10000")
            }
            guard recording.rotates else {
                throw ValidationError("--keep: it needs --rotate-size or --rotate-time")
            }
            recording.keptFileCountMax = count
        }
    }

    private static func feed(
        _ command: CollectCommand
    ) throws(ValidationError) -> FeedOptions {
        var feed = FeedOptions()
        feed.format = command.serveFormat ?? .pcap
        if let text = command.serve { feed.address = try serveAddress(text) }
        guard command.push.count <= FeedOptions.targetCountMax else {
            throw ValidationError("--push: there are more than \(FeedOptions.targetCountMax)")
        }
        for text in command.push {
            do throws(HostPort.Failure) {
                feed.targets.append(try HostPort(text))
            } catch {
                throw ValidationError("--push \(text): \(error); it takes HOST[:PORT]")
            }
        }
        if Set(feed.targets).count < feed.targets.count {
            throw ValidationError("--push: one is given twice, so it would get each packet twice")
        }
        for text in command.allow.flatMap({ $0.split(separator: ",") }) {
            guard let network = IPNetwork(String(text)) else {
                throw ValidationError("--allow \(text): it takes ADDRESS or ADDRESS/N, with commas")
            }
            feed.allowed.append(network)
        }
        guard feed.allowed.count <= allowedCountMax else {
            throw ValidationError("--allow: there are more than \(allowedCountMax)")
        }
        guard feed.allowed.isEmpty || feed.address != nil else {
            throw ValidationError("--allow: it is for the readers of --serve, which is not given")
        }
        guard command.serveFormat == nil || !feed.isEmpty else {
            throw ValidationError("--serve-format: it needs --serve or --push")
        }
        return feed
    }

    /// Reads where to serve: a port alone is one of this host, which nobody else reaches.
    private static func serveAddress(_ text: String) throws(ValidationError) -> SocketAddress {
        guard let address = SocketAddress(text), address.port > 0 else {
            throw ValidationError(
                "--serve \(text) cannot be understood: it takes PORT, ADDRESS:PORT or [IPV6]:PORT")
        }
        return text.contains(":")
            ? address : SocketAddress(IPAddress(ipv4: 0x7f00_0001), port: address.port)
    }
}
