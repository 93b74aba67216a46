/// Whether this process is in a container of Kubernetes.
///
/// The kubelet gives each the address of the cluster's API, and most a token for it.
package let isInKubernetes =
    environmentNames().contains("KUBERNETES_SERVICE_HOST")
    || (try? fileNames(in: "/var/run/secrets/kubernetes.io/serviceaccount")) != nil

/// How a process gets a capability: the end of a sentence, which fits where the process is.
///
/// - Parameters:
///   - kubernetes: What to do in Kubernetes.
///   - isRoot: Whether the process is root already.
///   - isInKubernetes: Whether it is in a container of Kubernetes.
/// - Returns: What to do.
package func adviceOnCapability(
    inKubernetes kubernetes: String, isRoot: Bool = isSuperuser(),
    isInKubernetes: Bool = Linux.isInKubernetes
) -> String {
    if isInKubernetes { return kubernetes }
    let here = isRoot ? "start it with that capability" : "run it as root"
    return "\(here), or in Kubernetes \(kubernetes)"
}
