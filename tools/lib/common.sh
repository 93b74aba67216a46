# What the tools share. Source it; it runs nothing by itself.

# Says what went wrong and ends.
fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || fail "needs root, for network namespaces: run it with sudo"
}

# Installs the Debian packages of this list that are missing, all at once.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    need_root
    echo "installing ${missing[*]}" >&2
    local log
    log=$(mktemp)
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y \
        --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "could not install ${missing[*]}"
    fi
    rm -f "$log"
}

# What building takes, beside the Swift toolchain, and what the test bed takes.
build_packages=(libmnl-dev libssl-dev pkg-config)
testbed_packages=(iproute2 iptables nftables containernetworking-plugins procps python3)
demo_packages=(tcpdump iputils-ping)
