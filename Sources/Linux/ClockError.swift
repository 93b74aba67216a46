import CLinux

/// How far off the node's clock is at most, in microseconds, by what whoever keeps it right has told the
/// kernel (adjtimex(2)). Nil if nobody does, or not for long.
package func wallClockErrorMicroseconds() -> Int? {
    let error = clinux_clock_error()
    return error < 0 ? nil : Int(error)
}
