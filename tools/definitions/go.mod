// Whose definitions of kinds the tests apply; nothing of these is built.
module penstock.dev/tools/definitions

go 1.26.7

require (
	github.com/kedacore/keda/v2 v2.21.0
	k8s.io/autoscaler/vertical-pod-autoscaler v1.8.1
)
