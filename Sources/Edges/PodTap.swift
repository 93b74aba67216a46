package import Taps

/// The place of an edge's interface inside its pod.
package struct PodTap: Hashable, Sendable {
    /// The file of the pod's network namespace.
    package let file: NamespaceFile
    /// The id under which the node's namespace knows the pod's.
    package let namespaceID: Int32
    /// The index of the interface inside the pod.
    package let podIndex: UInt32

    /// Whether the interface has an end in the node's namespace, too.
    package let hasHostEnd: Bool

    /// A place by its parts.
    package init(
        file: NamespaceFile, namespaceID: Int32, podIndex: UInt32, hasHostEnd: Bool = true
    ) {
        (self.file, self.namespaceID, self.podIndex) = (file, namespaceID, podIndex)
        self.hasHostEnd = hasHostEnd
    }

    /// Whether two places are one interface, though its namespace may have another id by now.
    package func isSameInterface(as other: Self) -> Bool {
        file.identity == other.file.identity && podIndex == other.podIndex
    }
}
