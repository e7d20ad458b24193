// What builds runtimetest of the Open Containers runtime-tools: no program of ours. go.sum holds every byte of it.
module runtimetest

go 1.19

require (
	github.com/opencontainers/runtime-tools v0.9.0
	github.com/blang/semver v3.5.1+incompatible
	github.com/hashicorp/go-multierror v1.1.1
	github.com/mndrix/tap-go v0.0.0-20171203230836-629fa407e90b
	github.com/opencontainers/runtime-spec v1.0.2
	github.com/opencontainers/selinux v1.10.0
	github.com/sirupsen/logrus v1.8.1
	github.com/syndtr/gocapability v0.0.0-20200815063812-42c35b437635
	github.com/urfave/cli v1.22.5
	golang.org/x/sys v0.1.0
)
