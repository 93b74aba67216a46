import Capture
import Glibc
import Kernel
import Observation
import Synchronization

/// Opens the rings of many places at once: each takes some 15 ms in the kernel, nearly all of it
/// spent on waiting for a grace period that all who wait share.
final class TapOpener: Sendable {
    private let places: [Place]
    private let plan: ProgramPlan
    private let shape: Ring.Shape
    private let next = Atomic<Int>(0)
    private let results: Mutex<[Result]>

    private enum Result: Sendable {
        case missing
        case ring(Handover<Ring>, EdgeProgram)
        case failure(SystemError)
    }

    /// As many threads as shorten the start of 250 rings; more do not.
    private static let threadCountMax = 16

    init(_ places: [Place], _ plan: ProgramPlan, shape: Ring.Shape) {
        (self.places, self.plan, self.shape) = (places, plan, shape)
        results = Mutex(Array(repeating: .missing, count: places.count))
    }

    /// Opens all rings that can be opened. Those that cannot come back with the reason.
    func open() -> (taps: [Tap], failures: [(Place, SystemError)]) {
        // The first thread is this one; where no other can be made, it does all the work.
        var threads: [Handover<Thread>] = []
        for _ in 1..<max(1, min(Self.threadCountMax, places.count)) {
            guard let thread = try? Thread({ self.work() }) else { break }
            threads.append(Handover(thread))
        }
        work()
        for thread in threads { thread.take()?.join() }

        var taps: [Tap] = []
        var failures: [(Place, SystemError)] = []
        for (index, result) in results.withLock({ $0 }).enumerated() {
            switch result {
            case .ring(let ring, let program):
                if let ring = ring.take() { taps.append(Tap(places[index], ring, program)) }
            case .failure(let error): failures.append((places[index], error))
            case .missing: break
            }
        }
        return (taps, failures)
    }

    private func work() {
        while true {
            let index = next.add(1, ordering: .relaxed).oldValue
            guard index < places.count else { return }
            let result = open(at: index)
            results.withLock { $0[index] = result }
        }
    }

    private func open(at index: Int) -> Result {
        var plan = plan
        while true {
            let program = plan.program(at: places[index].point)
            do throws(SystemError) {
                let ring = try Ring(
                    on: places[index].point.interfaceIndex, program.program, shape: shape)
                return .ring(Handover(ring), program)
            } catch {
                guard error == SystemError(Descriptor.attachOperation, ENOMEM), program.decides
                else { return .failure(error) }
                plan.shrink(below: program)
            }
        }
    }
}
