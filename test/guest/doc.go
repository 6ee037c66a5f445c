// Command guest runs a program under a real Debian kernel, so that tests of
// the kernel's L2TP and PPP code need neither the right host kernel nor KVM.
//
//	guest run   --kernel 6.1|6.12|all|auto|native [flags] -- command args...
//	guest shell --kernel 6.12
//	guest kernels [--update] [6.1 6.12]
//
// A guest is a stock Debian kernel in QEMU. Its root is the host's root,
// mounted read-only over 9p below a tmpfs overlay: every installed program and
// the current directory are there, and whatever the command writes vanishes,
// except what it puts in $ARTIFACTS. This binary is also the guest's /init.
//
// "run" ends with the command's own exit code. The runner's verdicts are 124
// (the command took too long) and 125 (no kernel, no boot, a panic, a kernel
// warning, no output that matches). "go run" flattens all of them to 1.
//
// The command sees L2TPD_GUEST=1 and L2TPD_KERNEL=6.1, 6.12 or native.
package main
