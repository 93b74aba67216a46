import Synchronization
package import Time

/// A queue of messages for one thread, which waits for them beside its descriptors.
///
/// Any thread sends; the receiver has `fileDescriptor` in its poll set and calls `takeAll`. Sending
/// never waits: when the mailbox is full the message is dropped, and the sender is told.
package final class Mailbox<Message: Sendable>: Sendable {
    private let waiting = Mutex<[Message]>([])
    private let filled: Event
    /// The most messages that wait.
    package let countMax: Int

    /// Creates an empty mailbox.
    ///
    /// - Parameter countMax: The most messages that wait. The caller names the reason for the number.
    /// - Throws: The kernel's reason if there is no descriptor left.
    package init(countMax: Int) throws(SystemError) {
        precondition(countMax > 0)
        self.countMax = countMax
        filled = try Event()
    }

    /// The descriptor, for a poll set: readable when messages wait.
    package var fileDescriptor: CInt { filled.fileDescriptor }

    /// The number of messages that wait.
    package var count: Int { waiting.withLock { $0.count } }

    /// Sends a message.
    ///
    /// - Returns: False if the mailbox is full; the message is dropped then.
    @discardableResult
    package func send(_ message: Message) -> Bool {
        update { waiting in
            guard waiting.count < countMax else { return false }
            waiting.append(message)
            return true
        }
    }

    /// Sends a message that makes waiting ones with the same key obsolete; those are dropped.
    ///
    /// - Returns: False if the mailbox is full of messages with other keys.
    @discardableResult
    package func send(
        _ message: Message, replacing key: (Message) -> some Equatable
    ) -> Bool {
        let own = key(message)
        return update { waiting in
            waiting.removeAll { key($0) == own }
            guard waiting.count < countMax else { return false }
            waiting.append(message)
            return true
        }
    }

    /// Sends a message unless one with the same key waits, which then stands for both.
    ///
    /// - Returns: Whether the message was added: false if one with its key waits, or if the mailbox
    ///   is full.
    @discardableResult
    package func send(
        _ message: Message, unlessWaiting key: (Message) -> some Equatable
    ) -> Bool {
        let own = key(message)
        return update { waiting in
            guard waiting.count < countMax, !waiting.contains(where: { key($0) == own })
            else { return false }
            waiting.append(message)
            return true
        }
    }

    /// Takes all messages that wait, in the order in which they were sent.
    ///
    /// Never waits.
    package func takeAll() -> [Message] {
        // Lowered first: what is sent in between is taken now, and at worst wakes the reader again.
        filled.lower()
        return waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
    }

    /// Waits until messages have come or the deadline has, and takes them.
    ///
    /// - Parameter deadline: When to return without a message; nil for never.
    /// - Returns: The messages, in the order in which they were sent.
    package func takeAll(waitingUntil deadline: MonotonicTime?) -> [Message] {
        // A failure to wait is one of the arguments, which are right; the caller comes again anyway.
        _ = try? poll([(fileDescriptor, .readable)], until: deadline)
        return takeAll()
    }

    /// Waits until a number of messages have come or the deadline has, and takes them.
    ///
    /// - Returns: Fewer messages than asked for if the deadline came first.
    package func take(
        atLeast countMin: Int, waitingUntil deadline: MonotonicTime
    ) -> [Message] {
        var messages = takeAll()
        while messages.count < countMin {
            let more = takeAll(waitingUntil: deadline)
            // The event may still be raised for messages that have been taken already.
            if more.isEmpty, .now >= deadline { break }
            messages += more
        }
        return messages
    }

    /// Changes the queue, and wakes the receiver if it was empty: who has been woken takes all.
    private func update(_ body: (inout [Message]) -> Bool) -> Bool {
        let (isAdded, isFirst) = waiting.withLock { waiting in
            let wasEmpty = waiting.isEmpty
            let isAdded = body(&waiting)
            return (isAdded, wasEmpty && isAdded)
        }
        if isFirst { filled.raise() }
        return isAdded
    }
}
