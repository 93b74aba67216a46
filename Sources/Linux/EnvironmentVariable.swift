import Glibc

/// Returns the value of a variable of the environment, or nil if it is not set.
package func environmentVariable(_ name: String) -> String? {
    // Safety: nothing in this program changes the environment, so the text stays put.
    unsafe getenv(name).map { unsafe String(cString: $0) }
}
