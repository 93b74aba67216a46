# shellcheck shell=bash disable=SC2154
# What else lives behind edges of a test bed (tools/testbed up NETWORK more): guests behind a bridge in a
# pod, as KubeVirt's bridge binding makes them, and pods that forward. It is sourced by `testbed`, which sets
# `prefix`.

# Runs ip(8) for both families, an argument after another: name, what, then an IPv4 and an IPv6 address for
# each word @, and more words.
ip_both() {
    local name=$1 four=() six=() word
    shift
    for word in "$@"; do
        case $word in
            *,*) four+=("${word%,*}"); six+=("${word#*,}") ;;
            *) four+=("$word"); six+=("$word") ;;
        esac
    done
    ip_in "$name" "${four[@]}"
    ip_in "$name" -6 "${six[@]}"
}

pod_address() { echo "10.244.$1.$2,fd00:10:244:$1::$2"; }

# The node's end of a pod's veth pair.
edge_of() {
    local name=$1 index
    index=$(in_ns "$name" cat /sys/class/net/eth0/iflink)
    in_ns "node${name: -1}" ip -o link | sed -n "s/^$index: \([^@:]*\)[@:].*/\1/p"
}

mac_of() { in_ns "$1" cat /sys/class/net/eth0/address; }
mtu_of() { in_ns "$1" cat /sys/class/net/eth0/mtu; }

forwards() {
    in_ns "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
        net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
}

# Moves the MAC and the addresses of pod d to a guest behind a bridge in it.
make_guest() {
    local network=$1 node=$2 pod=d$2 guest=guest$2 mac
    mac=$(mac_of "$pod")
    # What the node's bridge sends back to its sender confuses the bridge in the pod.
    [ "$network" = ptp ] ||
        in_ns "node$node" bridge link set dev "$(edge_of "$pod")" hairpin off
    add_namespace "$guest"
    ip_in "$pod" link add guests type bridge
    ip_in "$pod" link add tap0 address "02:00:00:00:78:0$node" type veth peer name eth0 \
        address "$mac" mtu "$(mtu_of "$pod")" netns "$prefix-$guest"
    ip_in "$pod" link set tap0 mtu "$(mtu_of "$pod")"
    ip_in "$pod" addr flush dev eth0
    ip_in "$pod" link set eth0 down
    ip_in "$pod" link set eth0 address "02:00:00:00:77:0$node" master guests up
    ip_in "$pod" link set tap0 master guests up
    ip_in "$pod" link set guests up
    ip_in "$guest" link set eth0 up
    if [ "$network" = ptp ]; then
        ip_both "$guest" addr add "10.244.$node.5/32,fd00:10:244:$node::5/128" dev eth0
        ip_both "$guest" route add "$(pod_address "$node" 1)" dev eth0
    else
        ip_both "$guest" addr add "10.244.$node.5/24,fd00:10:244:$node::5/64" dev eth0
    fi
    ip_both "$guest" route add default via "$(pod_address "$node" 1)"
}

# Has all that forward packets to a pod send those to another network there, too: NODE NUMBER NETWORK.
route_through() {
    local kind=$1 node=$2 number=$3 pod=$4 network=$5 other=$((3 - $2)) device=cni0
    [ "$kind" != ptp ] || device=$(edge_of "$pod")
    ip_both "node$node" route add "$network" via "$(pod_address "$node" "$number")" dev "$device" onlink
    if [ "$kind" = vxlan ]; then
        ip_both "node$other" route add "$network" via "10.244.$node.0,fd00:10:244:$node::" \
            dev flannel.1 onlink
    else
        ip_both "node$other" route add "$network" via "192.168.100.$node,fd00:192:168:100::$node"
    fi
    ip_both outside route add "$network" via "192.168.100.$node,fd00:192:168:100::$node"
}

# A client behind pod e1, whose address nobody translates.
make_vpn() {
    add_namespace vpn
    forwards e1
    ip_in e1 link add tun0 type veth peer name eth0 mtu "$(mtu_of e1)" netns "$prefix-vpn"
    ip_in e1 link set tun0 mtu "$(mtu_of e1)" up
    ip_in vpn link set eth0 up
    ip_both e1 addr add 10.8.0.1/24,fd00:10:8::1/64 dev tun0
    ip_both vpn addr add 10.8.0.5/24,fd00:10:8::5/64 dev eth0
    ip_both vpn route add default via 10.8.0.1,fd00:10:8::1
    route_through "$1" 1 6 e1 10.8.0.0/24,fd00:10:8::/64
}

# An address outside the pod networks on the loopback of c2.
make_virtual() {
    ip_both c2 addr add 172.31.0.1/32,fd00:172:31::1/128 dev lo
    route_through "$1" 2 4 c2 172.31.0.1/32,fd00:172:31::1/128
}

# What pod f1 lets pass, and what not: drops, rejects, and resets. The pods' packets pass it because they,
# or their node, have routes through it.
make_firewall() {
    local network=$1 device=cni0 uplink=uplink family reject pod
    forwards f1
    for family in iptables ip6tables; do
        reject=icmp-port-unreachable
        [ $family = iptables ] || reject=icmp6-port-unreachable
        in_ns f1 $family -A FORWARD -p tcp --dport 8871 -j DROP
        in_ns f1 $family -A FORWARD -p tcp --dport 8872 -j REJECT --reject-with $reject
        in_ns f1 $family -A FORWARD -p tcp --dport 8873 -j REJECT --reject-with tcp-reset
    done
    [ "$network" != ptp ] || device=$(edge_of f1)
    [ "$network" != vxlan ] || uplink=flannel.1
    for pod in 1.3 1.4 1.6 2.3; do
        ip_both node1 route add "10.244.$pod,fd00:10:244:${pod/./::}" table 77 \
            via "$(pod_address 1 7)" dev "$device" onlink
    done
    through_firewall 2 3 1 3 "$uplink"
    if [ "$network" = ptp ]; then
        through_firewall 1 6 1 4 "$(edge_of e1)"
        through_firewall 1 4 1 6 "$(edge_of c1)"
        through_firewall 1 3 2 3 "$(edge_of b1)"
    else
        # They are told that there is a shorter way, and must not take it.
        for pod in b1 c1 e1; do
            in_ns $pod sysctl -qw net.ipv6.conf.eth0.accept_redirects=0
        done
        ip_both e1 route add "$(pod_address 1 4)" via "$(pod_address 1 7)"
        ip_both c1 route add "$(pod_address 1 6)" via "$(pod_address 1 7)"
        ip_both b1 route add "$(pod_address 2 3)" via "$(pod_address 1 7)"
    fi
}

# On node1: from a pod's address to another one's, where they come in by a device.
through_firewall() {
    ip_both node1 rule add from "$(pod_address "$1" "$2")" to "$(pod_address "$3" "$4")" \
        iif "$5" lookup 77
}

make_more() {
    local network=$1 node
    for node in 1 2; do make_guest "$network" "$node"; done
    make_vpn "$network"
    make_virtual "$network"
    make_firewall "$network"
}

# Each pod's edge, what the pod is called, which MAC addresses live behind it, and the node's bridge.
list_edges() {
    local name edge node mac guest bridge
    for name in $(namespaces | sed "s/^$prefix-//" | grep -x '[a-f][12]'); do
        node=${name: -1}
        edge=$(edge_of "$name")
        mac=$(mac_of "$name")
        guest=guest$node
        if [ "$name" = "d$node" ]; then mac=$mac,$(mac_of "$guest"); fi
        bridge=$(in_ns "node$node" sh -c "[ ! -e /sys/class/net/$edge/master ] || basename \$(readlink /sys/class/net/$edge/master)")
        echo "$node-$edge $name $mac $node-${bridge:-$edge}"
    done
}
