import Synchronization

/// Something that has one owner, on its way from one thread to another.
package final class Handover<Value: ~Copyable>: Sendable {
    private let content: Mutex<Value?>

    package init(_ value: consuming sending Value) { content = Mutex(consume value) }

    /// What was handed over, once; nil afterwards.
    package func take() -> sending Value? {
        content.withLock { $0.take() }
    }
}
