// Package hostlimits has tests that run into limits which the kernel keeps once for the whole host. They lower them for
// everybody, and so run in the tests' virtual machines only: see package test/vm, whose TestKernels starts them there.
package hostlimits
