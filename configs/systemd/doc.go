// Package systemd holds the unit of l2tpd and the group and directories it needs. Its tests ask systemd itself whether they are good.
package systemd
