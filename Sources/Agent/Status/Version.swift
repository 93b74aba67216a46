import Linux

/// The version of podwire.
///
/// Releases change it here, and with it the tag of the images in k8s/.
package enum Version {
    package static let number = "0.2.0"

    /// The program's name, the number, and the commit in parentheses where the build knows it.
    package static var text: String {
        "podwire \(number)" + (sourceCommit.map { " (\($0))" } ?? "")
    }

    /// The compiler it was built with.
    package static var swift: String {
        #if compiler(>=6.5)
        "6.5 or later"
        #elseif compiler(>=6.4)
        "6.4"
        #else
        "6.3"
        #endif
    }
}
