import Glibc
package import Linux
import Synchronization

/// The CPUs that the forwarding threads may run on, and their niceness.
package struct ThreadPlacement: Sendable {
    /// The CPUs; nil for those of the process.
    package let processors: ProcessorSet?
    /// The niceness; nil for that of the process.
    package let niceness: CInt?

    package init(processors: ProcessorSet? = nil, niceness: CInt? = nil) {
        self.processors = processors
        self.niceness = niceness
    }

    /// The values of nice that the kernel takes.
    static let nicenesses: ClosedRange<CInt> = -20...19

    init(_ reader: SettingsReader) throws(SettingFailure) {
        processors = try reader.oneOrNone(.processors) { ProcessorSet($0) }
        niceness = try reader.oneOrNone(.niceness) { text in
            CInt(text).flatMap { Self.nicenesses.contains($0) ? $0 : nil }
        }
    }

    /// Why threads cannot be placed, and what to do about it.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case processors(ProcessorSet, allowed: ProcessorSet)
        case niceness(CInt, inherited: CInt)
        case system(SystemError)

        private static var advice: String {
            adviceOnCapability(inKubernetes: "add it under securityContext.capabilities")
        }

        package var description: String {
            switch self {
            case .processors(let missing, let allowed):
                """
                \(Setting.processors.option) \(missing) cannot be had: there is no such CPU, or the \
                agent may not use it; it may use \(allowed)
                """
            case .niceness(let niceness, let inherited):
                """
                \(Setting.niceness.option) \(niceness) needs CAP_SYS_NICE: \(Self.advice), or use \
                \(inherited) to \(nicenesses.upperBound)
                """
            case .system(let error): "\(error)"
            }
        }
    }

    /// Places the calling thread.
    ///
    /// If some of the CPUs are missing, the thread runs on the others, and this throws all the same.
    /// The kernel would not tell.
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

    /// Tries the placement on a thread of its own, and waits for it.
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
