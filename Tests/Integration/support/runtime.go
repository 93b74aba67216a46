// A container runtime's part in a pod's network, by the library with which containerd does it:
//
//	runtime add|del CONTAINER NAMESPACE-PATH POD-NAMESPACE POD-NAME CONFIGURATION-LIST
//
// Like any runtime it leaves what the plug-ins have answered in /var/lib/cni/results.
package main

import (
	"context"
	"fmt"
	"os"

	gocni "github.com/containerd/go-cni"
)

func main() {
	verb, id, path, list := os.Args[1], os.Args[2], os.Args[3], os.Args[6]
	network, err := gocni.New(
		gocni.WithMinNetworkCount(2),
		gocni.WithPluginDir([]string{"/usr/lib/cni"}),
		gocni.WithLoNetwork,
		gocni.WithConfListFile(list))
	if err == nil {
		labels := gocni.WithLabels(map[string]string{
			"K8S_POD_NAMESPACE":          os.Args[4],
			"K8S_POD_NAME":               os.Args[5],
			"K8S_POD_INFRA_CONTAINER_ID": id,
			"IgnoreUnknown":              "1",
		})
		if verb == "add" {
			_, err = network.Setup(context.Background(), id, path, labels)
		} else {
			err = network.Remove(context.Background(), id, path, labels)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
