extension UInt64 {
    /// The word with its bits mixed, so that each depends on all (the finalizer of SplitMix64).
    @inlinable
    package var mixed: UInt64 {
        var value = self
        value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
        return value ^ value >> 31
    }
}
