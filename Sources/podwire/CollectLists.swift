import Collector
import Formats
import Linux
import Synchronization

/// The devices of each source, or why they are not known.
struct CollectLists {
    private let entries: [Entry]

    private struct Entry {
        let source: Source
        let answer: Result<[OfferedDevice], DeviceListing.Failure>
    }

    /// The most agents that are asked at once; the threads mostly wait for the network.
    private static let threadCountMax = 16

    /// Asks all sources.
    ///
    /// Waits for each answer as long as a session does, or until `cancel`.
    init(_ sources: [Source], _ options: CaptureOptions, cancel: consuming Event) {
        let work = Work(sources, options, cancel)
        inParallel(sources.count, threadCountMax: Self.threadCountMax) { work.ask($0) }
        entries = zip(sources, work.answers).map { source, answer in
            Entry(source: source, answer: answer ?? .success([]))
        }
    }

    /// Whether every source has answered.
    var areComplete: Bool {
        entries.allSatisfy { if case .success = $0.answer { true } else { false } }
    }

    /// Prints the devices, and what has failed.
    func show(asJSON isJSON: Bool, in window: Window) throws(SystemError) {
        for entry in entries {
            guard case .failure(let failure) = entry.answer else { continue }
            printMessage(of: "collect", "\(entry.source): \(failure)")
        }
        try writeToStandardOutput(isJSON ? json.text + "\n" : table(in: window))
    }

    private func table(in window: Window) -> String {
        let devices = entries.flatMap { (try? $0.answer.get()) ?? [] }
        return devices.isEmpty ? "" : OfferedDevice.table(devices, in: window)
    }

    private var json: JSON {
        .array(
            entries.map { entry in
                switch entry.answer {
                case .failure(let failure):
                    .object([
                        ("agent", .text("\(entry.source)")), ("error", .text("\(failure)")),
                    ])
                case .success(let devices):
                    .object([
                        ("agent", .text("\(entry.source)")),
                        ("devices", .array(devices.map(Self.json))),
                    ])
                }
            })
    }

    private static func json(_ device: OfferedDevice) -> JSON {
        .object([
            ("name", .text(device.name)), ("url", .text(device.url)),
            ("description", .text(device.description)),
            ("flags", .array(device.flags.map { .text($0) })),
            ("addresses", .array(device.addresses.map { .text($0) })),
        ])
    }
}

/// The sources and their answers, shared by the threads that ask.
private final class Work: Sendable {
    private let sources: [Source]
    private let options: CaptureOptions
    private let cancel: Event
    private let content: Mutex<[Result<[OfferedDevice], DeviceListing.Failure>?]>

    init(_ sources: [Source], _ options: CaptureOptions, _ cancel: consuming Event) {
        self.sources = sources
        self.options = options
        self.cancel = cancel
        content = Mutex(Array(repeating: nil, count: sources.count))
    }

    var answers: [Result<[OfferedDevice], DeviceListing.Failure>?] { content.withLock { $0 } }

    func ask(_ index: Int) {
        let answer: Result<[OfferedDevice], DeviceListing.Failure>
        do throws(DeviceListing.Failure) {
            answer = .success(
                try DeviceListing.fetch(from: sources[index], options, cancel: cancel))
        } catch {
            answer = .failure(error)
        }
        content.withLock { $0[index] = answer }
    }
}
