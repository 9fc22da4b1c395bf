module evenkeel.dev/hack/tools/cluster

go 1.25.0
