import Synchronization

/// A box that carries a noncopyable value from one thread to another.
package final class TransferBox<Value: ~Copyable>: Sendable {
    private let content: Mutex<Value?>

    /// Puts a value into a box.
    package init(_ value: consuming sending Value) { content = Mutex(consume value) }

    /// Takes the value out, or returns nil if it has been taken before.
    package func take() -> sending Value? {
        content.withLock { $0.take() }
    }
}
