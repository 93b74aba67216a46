package import Linux

import Glibc
import Synchronization

/// Where the threads that forward packets run, and how much they give way to others.
package struct ThreadPlacement: Sendable {
    /// Nil for wherever the process may run.
    package let processors: ProcessorSet?
    /// Nil for as much as the process does.
    package let niceness: CInt?

    package init(processors: ProcessorSet? = nil, niceness: CInt? = nil) {
        self.processors = processors
        self.niceness = niceness
    }

    init(_ reader: SettingsReader) throws(SettingFailure) {
        processors = try reader.oneOrNone(.processors) { ProcessorSet($0) }
        niceness = try reader.oneOrNone(.niceness) { text in
            CInt(text).flatMap { (-20...19).contains($0) ? $0 : nil }
        }
    }

    /// Why threads cannot be placed so, and what to do about it.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case processors(ProcessorSet, allowed: ProcessorSet)
        case niceness(CInt, inherited: CInt)
        case system(SystemError)

        package var description: String {
            switch self {
            case .processors(let missing, let allowed):
                """
                \(Setting.processors.option) \(missing) cannot be had: there is no such CPU, or the \
                agent may not use it; it may use \(allowed)
                """
            case .niceness(let niceness, let inherited):
                """
                \(Setting.niceness.option) \(niceness) needs CAP_SYS_NICE: add it under \
                securityContext.capabilities, or use \(inherited) to 19
                """
            case .system(let error): "\(error)"
            }
        }
    }

    /// Places the calling thread. Where only some of the processors are there it runs on those, which
    /// is a failure all the same: the kernel would not say so.
    package func apply() throws(Failure) {
        do throws(SystemError) {
            if let niceness { try setNiceness(niceness) }
        } catch {
            guard let niceness, [.permissionDenied, .notPermitted].contains(error.errno) else {
                throw .system(error)
            }
            throw .niceness(niceness, inherited: Linux.niceness())
        }
        guard let processors else { return }
        let missing: ProcessorSet
        let allowed: ProcessorSet
        do throws(SystemError) {
            try setAffinity(.all)
            allowed = try affinity()
            missing = processors.subtracting(allowed)
            if missing != processors { try setAffinity(processors) }
        } catch {
            throw .system(error)
        }
        guard missing.isEmpty else { throw .processors(missing, allowed: allowed) }
    }

    /// Whether threads can be placed so: a thread of its own tries it, and ends.
    package func check() throws(Failure) {
        let trial = Trial()
        do throws(SystemError) {
            try Thread {
                do throws(Failure) {
                    try apply()
                } catch {
                    trial.failure.withLock { $0 = error }
                }
            }.join()
        } catch {
            throw .system(error)
        }
        if let failure = trial.failure.withLock({ $0 }) { throw failure }
    }

    private final class Trial: Sendable {
        let failure = Mutex<Failure?>(nil)
    }
}
