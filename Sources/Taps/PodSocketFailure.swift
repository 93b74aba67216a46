package import Linux

/// Why there is no socket inside a pod, with what to do about it.
package enum PodSocketFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The pod, its interface or its namespace went away meanwhile: nothing is wrong.
    case gone(SystemError)
    /// The namespace's file cannot be opened.
    case file(SystemError)
    /// Nobody listens at the opener's socket; the path is that of the socket.
    case noOpener(path: String, SystemError)
    /// The opener has closed the connection or does not answer.
    case silent(SystemError)
    /// The opener has sent what is no answer; the text says what.
    case nonsense(String)
    /// The opener runs in another network namespace than the agent, and finds none of its pods.
    case elsewhere
    /// The opener has refused or failed.
    case refused(PodSocketStep, Errno)

    /// The failure's kind, as a label of metrics.
    package var reason: Reason {
        switch self {
        case .gone: .gone
        case .file: .file
        case .noOpener, .silent, .elsewhere: .opener
        case .nonsense: .answer
        case .refused(_, .notPermitted), .refused(_, .permissionDenied): .permission
        case .refused: .system
        }
    }

    /// The kinds of failures.
    package enum Reason: String, Sendable, CaseIterable {
        /// The pod is gone: nothing is wrong, and nothing is to be said.
        case gone
        /// The namespace's file cannot be opened.
        case file
        /// The opener is not there.
        case opener
        /// The opener answers what is no answer.
        case answer
        /// The opener lacks a capability, or is not told to do it.
        case permission
        /// The kernel refuses for another reason.
        case system
    }

    /// Whether the opener was not reached, so that asking again later may help all pods.
    package var isOfConnection: Bool {
        switch self {
        case .noOpener, .silent, .nonsense: true
        case .gone, .file, .elsewhere, .refused: false
        }
    }

    /// What has failed.
    package var description: String {
        switch self {
        case .gone(let error): "the pod is gone: \(error)"
        case .file(let error): "the pod's network namespace cannot be opened: \(error)"
        case .noOpener(let path, let error): "there is no opener at \(path): \(error.reason)"
        case .silent(let error): "the opener does not answer: \(error.reason)"
        case .nonsense(let text): "the opener has sent no answer but \(text)"
        case .elsewhere: "the opener runs in another network namespace than the agent"
        case .refused(let step, let errno): "the opener failed to \(step.words): \(errno)"
        }
    }

    /// What to do about it.
    package var advice: String {
        switch self {
        case .gone: "nothing"
        case .file:
            "let the agent's container read the folder of network namespaces: as root, and where "
                + "SELinux or AppArmor is in force with a profile that permits it"
        case .noOpener, .silent:
            "run `podwire opener` beside the agent, with its socket's folder mounted into both "
                + "containers (k8s/components/pod-taps), and look at its log"
        case .nonsense: "run the agent and the opener from the same image"
        case .elsewhere:
            "run the opener in the node's network namespace (hostNetwork), as the agent is"
        case .refused(.permission, _): "start the opener with --pod-interfaces, too"
        case .refused(.entry, .notPermitted), .refused(.entry, .permissionDenied):
            "give the opener's container CAP_SYS_ADMIN and the default seccomp profile; AppArmor and "
                + "SELinux can forbid setns(2) as well"
        case .refused(.socket, .notPermitted), .refused(.socket, .permissionDenied):
            "give the opener's container CAP_NET_RAW"
        case .refused: "look at the log of the opener's container"
        }
    }
}
