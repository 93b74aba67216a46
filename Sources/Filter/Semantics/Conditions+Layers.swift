/// Headers inside others: primitives that move the place of all that follows them in the text.
extension Conditions {
    /// `vlan`, with the number of a VLAN or without.
    mutating func enterVLAN(_ number: UInt32?) throws(FilterError) -> Part {
        guard layers.labelCount == 0 else { throw failure("behind mpls there is no vlan") }
        guard layers.link == .ethernet else { throw failure("behind pppoes there is no vlan") }
        var tags: [Part] = []
        for etherType: UInt32 in [0x8100, 0x88a8, 0x9100] {
            tags.append(try matchCarried(etherType))
        }
        var part = graph.any(tags)
        if let number {
            try check(number, 0x0fff, "the VLAN")
            part = graph.and(
                part,
                match(
                    .network, 0, .half, number, mask: 0x0fff, Note("the VLAN's number?", .decimal)))
        }
        layers.payload.constant &+= 4
        layers.linkType.constant &+= 4
        return part
    }

    /// `mpls`, with a label or without.
    mutating func enterMPLS(_ label: UInt32?) throws(FilterError) -> Part {
        var part: Part
        if layers.labelCount > 0 {
            part = graph.not(matchLastLabel())
        } else {
            // PPP has a number of its own for MPLS (RFC 3032).
            part = try matchCarried(layers.link == .ppp ? 0x0281 : 0x8847)
        }
        if let label {
            try check(label, 0xf_ffff, "the label")
            part = graph.and(
                part,
                match(.network, 0, .word, label << 12, mask: 0xffff_f000, "the label?"))
        }
        layers.network &+= 4
        layers.networkBehind802 &+= 4
        layers.labelCount += 1
        return part
    }

    /// `pppoes`, with the number of a session or without (RFC 2516).
    mutating func enterPPPoE(_ session: UInt32?) throws(FilterError) -> Part {
        var part = try matchCarried(0x8864)
        if let session {
            try check(session, UInt32(UInt16.max), "the session")
            part = graph.and(
                part, match(.network, 2, .half, session, Note("the session?", .decimal)))
        }
        let start = layers.payload.constant &+ layers.network &+ 6
        layers.link = .ppp
        layers.header = Layers.Offset(constant: start, variable: layers.payload.variable)
        layers.linkType = layers.header
        layers.payload.constant = start &+ 2
        (layers.network, layers.networkBehind802) = (0, 0)
        return part
    }
}

/// Tunnels over UDP.
extension Conditions {
    private struct Tunnel {
        let port: UInt16
        /// What the first byte of the tunnel's header is, of the bits that count.
        let first: UInt32
        let firstMask: UInt32
        let name: String
    }

    /// The numbers that the program computes for the headers inside a tunnel.
    private struct Places {
        /// Where the tunnel's own header begins.
        let start: Variable
        let header: Variable
        let linkType: Variable
        let payload: Variable
    }

    /// `geneve`, with the number of a network or without (RFC 8926).
    mutating func enterGeneve(_ network: UInt32?) throws(FilterError) -> Part {
        let tunnel = Tunnel(port: 6081, first: 0, firstMask: 0xc0, name: "Geneve")
        let places = try makePlaces()
        let outside = try matchTunnel(tunnel, network, places)
        let start = graph.values.value(.variable(places.start))
        let first = graph.values.packet(.byte, 0, past: start)
        let optionWords = graph.values.combined(.and, first, graph.values.constant(0x3f))
        let optionBytes = graph.values.combined(.multiply, optionWords, graph.values.constant(4))
        let length = sum(optionBytes, 8)
        let end = graph.values.combined(.add, length, start)
        let header = graph.values.value(.variable(places.header))
        // The tunnel's header names what follows; for a frame of Ethernet that frame does.
        let common = graph.part(
            nil,
            [
                Graph.Store(variable: places.linkType, value: sum(start, 2)),
                Graph.Store(variable: places.header, value: end),
            ])
        let carried = graph.values.packet(.half, 2, past: start)
        let isFrame = graph.test(
            carried, .equal, graph.values.constant(0x6558), "a frame of Ethernet inside?")
        let frame = graph.part(
            nil,
            [
                Graph.Store(variable: places.linkType, value: sum(header, 12)),
                Graph.Store(variable: places.payload, value: sum(header, 14)),
            ])
        let other = graph.part(nil, [Graph.Store(variable: places.payload, value: header)])
        enter(places)
        return graph.all([outside, common, graph.or(graph.and(isFrame, frame), other)])
    }

    /// `vxlan`, with the number of a network or without (RFC 7348).
    mutating func enterVXLAN(_ network: UInt32?) throws(FilterError) -> Part {
        let tunnel = Tunnel(port: 4789, first: 0x08, firstMask: 0xff, name: "VXLAN")
        let places = try makePlaces()
        let outside = try matchTunnel(tunnel, network, places)
        let start = graph.values.value(.variable(places.start))
        let header = graph.values.value(.variable(places.header))
        let inside = graph.part(
            nil,
            [
                Graph.Store(variable: places.header, value: sum(start, 8)),
                Graph.Store(variable: places.linkType, value: sum(header, 12)),
                Graph.Store(variable: places.payload, value: sum(header, 14)),
            ])
        enter(places)
        return graph.and(outside, inside)
    }

    private mutating func makePlaces() throws(FilterError) -> Places {
        guard let start = graph.makeVariable(), let header = graph.makeVariable(),
            let linkType = graph.makeVariable(), let payload = graph.makeVariable()
        else { throw failure("a filter can look into three tunnels at most") }
        return Places(start: start, header: header, linkType: linkType, payload: payload)
    }

    private mutating func sum(_ value: Value, _ number: UInt32) -> Value {
        graph.values.combined(.add, value, graph.values.constant(number))
    }

    /// Whether a packet is that of a tunnel; the place of the tunnel's header is kept.
    private mutating func matchTunnel(
        _ tunnel: Tunnel, _ network: UInt32?, _ places: Places
    ) throws(FilterError) -> Part {
        if let network { try check(network, 0xff_ffff, "\(tunnel.name)'s network") }
        var ways: [Part] = []
        for anchor in [Anchor.transport4, .transport6] {
            let ports = Ports(first: tunnel.port, last: tunnel.port, transport: 17)
            var parts = [try matchPort(ports, .destination, anchor)]
            parts.append(
                match(
                    anchor, 8, .byte, tunnel.first, mask: tunnel.firstMask,
                    "the tunnel's version and flags?"))
            if let network {
                parts.append(
                    match(
                        anchor, 12, .word, network << 8, mask: 0xffff_ff00, "the tunnel's network?")
                )
            }
            parts.append(
                graph.part(
                    nil, [Graph.Store(variable: places.start, value: tunnelStart(anchor))]))
            ways.append(graph.all(parts))
        }
        return graph.any(ways)
    }

    /// Where the header of a tunnel begins: behind those of IP and UDP.
    private mutating func tunnelStart(_ anchor: Anchor) -> Value {
        let constant = layers.payload.constant &+ layers.network &+ 8
        if anchor == .transport4 { return sum(ipv4HeaderEnd(), constant) }
        return layers.payload.variable.map { sum($0, constant &+ 40) }
            ?? graph.values.constant(constant &+ 40)
    }

    private mutating func enter(_ places: Places) {
        func offset(_ variable: Variable) -> Layers.Offset {
            Layers.Offset(constant: 0, variable: graph.values.value(.variable(variable)))
        }
        let (header, linkType) = (offset(places.header), offset(places.linkType))
        layers.header = header
        layers.linkType = linkType
        layers.payload = offset(places.payload)
        layers.network = 0
        layers.labelCount = 0
        layers.link = .ethernet
        layers.isInTunnel = true
    }
}
