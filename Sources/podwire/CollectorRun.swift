import ArgumentParser
import Collector
import Glibc
import Linux
import Logging
import Security

/// Reads the settings of a command, and says what is wrong with them.
func readingSettings<Settings>(
    for command: String, _ read: () throws -> Settings
) throws -> Settings {
    do {
        return try read()
    } catch let error as ValidationError {
        printMessage(of: command, error.message)
        throw Exit.usage
    } catch let error as TLSFailure {
        printMessage(of: command, "\(error)")
        throw Exit.usage
    } catch {
        printMessage(of: command, "\(error)")
        throw Exit.systemError
    }
}

/// The time after which the program gives up an end that hangs: twice what the end takes, for the disk.
private let endSecondsMax = UInt32(2 * Collector.wholeEndTimeMax.components.seconds)

/// Collects packets until SIGINT or SIGTERM, or as the options say.
///
/// SIGHUP does the same, unless it is ignored, or has files that rotate begin anew. SIGUSR1 has the numbers
/// so far shown.
///
/// - Returns: The collector with all that it has counted, and `failure` if something has failed.
func collect(
    _ agents: SourceSettings, _ capture: CaptureOptions, to outputs: OutputOptions,
    _ options: RunOptions.Settings, _ display: DisplayOptions, log: ProgramLog,
    showNumbers: (Collector) -> Void
) throws -> Collector {
    let takesStandardOutput = outputs.recording?.path == "-" || isPipe(STDOUT_FILENO)
    let view = LiveView(
        isAlone: !takesStandardOutput, isQuiet: options.isQuiet, allowsColors: !display.noColor
    ) { log.show($0) }
    let hangup = Signals.hangup
    do throws(SystemError) {
        let requests = try CollectorRequests()
        try Signals.onEnd(secondsMax: endSecondsMax) { requests.ask(for: .stop) }
        try Signals.on(SIGUSR1) { requests.ask(for: .numbers) }
        try Signals.onResize(
            begin: { requests.ask(for: .hold) }, end: { requests.ask(for: .redraw) })
        try Signals.onSuspension(
            before: {
                requests.leaveTerminal()
                log.flush()
            }, after: { requests.ask(for: .redraw) })
        if !hangup.isEmpty {
            let terminal = ControllingTerminal()
            let rotates = outputs.recording?.rotates ?? false
            try Signals.on(SIGHUP) {
                if rotates, !terminal.isGone {
                    requests.ask(for: .newFile)
                } else {
                    Signals.end()
                }
            }
        }
        Descriptor.raiseCountMax()
        let collector = try Collector(
            at: agents.address, from: agents.sources, to: outputs, capture, requests: requests,
            duration: options.duration, view: view, logger: log.logger)
        collector.run(showNumbers: showNumbers)
        return collector
    } catch {
        log.fail("\(error)")
        throw Exit.systemError
    }
}

/// Ends the command if the collector could not go on.
func throwFailure(of collector: Collector, _ log: ProgramLog) throws {
    guard let failure = collector.failure else { return }
    log.fail("\(failure)")
    throw Exit.systemError
}
